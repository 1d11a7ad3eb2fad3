//! Damage to a good file, as arbitrary bytes describe it: libFuzzer makes and mutates short descriptions instead of files of a
//! hundred kilobytes, and a random generator's bytes are as good. Touches no file.

/// Bytes of one edit: how, three of the place, four of the value.
const EDIT: usize = 8;
/// Of them, the value.
const VALUE: usize = 4;
/// An edit of this kind or a higher one may be anywhere, any other one is to the header.
const ANYWHERE: u8 = 0xE0;
/// Of longer descriptions only so many edits are made.
const MOST: usize = 16;
/// What texts in headers are made of.
const CHARACTERS: [u8; 16] = *b"0129-.eE\"\\{}[],:";

/// Good files, and where each keeps what decides.
pub struct Files {
    good: Vec<Good>,
    file: Vec<u8>,
    /// The good file that `file` differs from in its header alone.
    behind_head: Option<usize>,
}

struct Good {
    bytes: Vec<u8>,
    /// Length of the header: seven of eight edits go there.
    head: usize,
}

impl Files {
    /// Each with the length of its header.
    ///
    /// # Panics
    /// If a header is empty or longer than its file.
    pub fn new(good: Vec<(Vec<u8>, usize)>) -> Self {
        assert!(good.iter().all(|(bytes, head)| (1..=bytes.len()).contains(head)));
        Self {
            good: good.into_iter().map(|(bytes, head)| Good { bytes, head }).collect(),
            file: Vec::new(),
            behind_head: None,
        }
    }

    /// The first byte of `description` chooses a file, the rest says what happens to it. No good file comes back.
    pub fn damaged(&mut self, description: &[u8]) -> &[u8] {
        let (&which, edits) = description.split_first().unwrap_or((&0, &[]));
        let which = usize::from(which) % self.good.len();
        let Good { bytes, head } = &self.good[which];
        if self.behind_head == Some(which) {
            let end = bytes.len().min(head + VALUE);
            self.file[..end].copy_from_slice(&bytes[..end]);
        } else {
            self.file.clone_from(bytes);
        }
        let edits = || edits.as_chunks::<EDIT>().0.iter().take(MOST);
        edits().for_each(|edit| damage(&mut self.file, *head, edit));
        let in_head = |edit: &[u8; EDIT]| edit[0] < ANYWHERE && edit[0] % 16 < 10;
        self.behind_head = edits().all(in_head).then_some(which);
        let compared = if self.behind_head.is_some() { bytes.len().min(head + VALUE) } else { bytes.len() };
        if self.file.len() == bytes.len() && self.file[..compared] == bytes[..compared] {
            // Nothing was described that makes a difference: a good file would say nothing new, and takes longest to read.
            let bit = hash(description) as usize % (8 * head);
            self.file[bit / 8] ^= 1 << (bit % 8);
        }
        &self.file
    }
}

/// Whether this is one of the inputs, one in `one_in`, for which what takes long is done: the same answer every time.
pub(super) fn sampled(input: &[u8], one_in: u32) -> bool {
    (hash(input) >> 8).is_multiple_of(one_in)
}

/// FNV-1a.
fn hash(input: &[u8]) -> u32 {
    input.iter().fold(0x811C_9DC5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn damage(file: &mut Vec<u8>, head: usize, &[how, p0, p1, p2, v0, v1, v2, v3]: &[u8; EDIT]) {
    let reach = if how < ANYWHERE { head.min(file.len()) } else { file.len() };
    if reach == 0 {
        return;
    }
    let at = u32::from_le_bytes([p0, p1, p2, 0]) as usize % reach;
    let (value, length) = ([v0, v1, v2, v3], 1 + usize::from(v0 % 64));
    // Up to 9, the length stays.
    match how % 16 {
        0 | 1 => file[at] ^= 1 << (v0 % 8),
        2 | 3 => file[at] = v0,
        4 | 5 => file[at] = CHARACTERS[usize::from(v0) % CHARACTERS.len()],
        6 | 7 => {
            let end = file.len().min(at + value.len());
            file[at..end].copy_from_slice(&value[..end - at]);
        }
        8 | 9 => file[at] = file[at].wrapping_add(v0),
        10 => drop(file.splice(at..at, value)),
        11 => drop(file.splice(at..at, [CHARACTERS[usize::from(v0) % CHARACTERS.len()]])),
        12 | 13 => drop(file.drain(at..file.len().min(at + length))),
        14 => {
            let piece = file[at..file.len().min(at + length)].to_vec();
            let to = usize::from(u16::from_le_bytes([v1, v2])) % reach;
            drop(file.splice(to..to, piece));
        }
        _ => file.truncate(at),
    }
}
