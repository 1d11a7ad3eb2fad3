//! Zip archives as `numpy.savez` writes them: entries stored or deflated, each held to its CRC-32. Source: PKWARE's APPNOTE.

use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;

/// Ends the list of entries.
const END: &[u8] = b"PK\x05\x06";
/// Begins an entry of the list.
const LISTED: &[u8] = b"PK\x01\x02";
/// Begins an entry itself.
const LOCAL: &[u8] = b"PK\x03\x04";
/// Bytes of the end, without its comment.
const END_BYTES: usize = 22;
/// The longest comment.
const COMMENT: usize = 0xFFFF;
/// Stands where a number of 64 bits is in another field.
const IN_ZIP64: u32 = u32::MAX;

/// One file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    method: u16,
    crc: u32,
    packed: usize,
    size: usize,
    offset: usize,
}

/// The list at the end of an archive.
///
/// # Errors
/// What is damaged, in words.
pub fn entries(archive: &[u8]) -> Result<Vec<Entry>, String> {
    let cut = || "it is a zip archive that is cut off".to_owned();
    let from = archive.len().saturating_sub(END_BYTES + COMMENT);
    let end = archive[from..].windows(END.len()).rposition(|window| window == END).ok_or_else(cut)? + from;
    let count = u16_at(archive, end + 10).ok_or_else(cut)?;
    let mut at = u32_at(archive, end + 16).ok_or_else(cut)? as usize;
    let mut entries = Vec::new();
    for _ in 0..count {
        let entry = archive.get(at..).filter(|entry| entry.starts_with(LISTED)).ok_or_else(cut)?;
        let number = |at| u32_at(entry, at).ok_or_else(cut);
        let short = |at| u16_at(entry, at).map(usize::from).ok_or_else(cut);
        let (packed, size, offset) = (number(20)?, number(24)?, number(42)?);
        if [packed, size, offset].contains(&IN_ZIP64) {
            return Err("it is larger than 4 GB, a zip archive of 64 bits".into());
        }
        let name = entry.get(46..46 + short(28)?).ok_or_else(cut)?;
        entries.push(Entry {
            name: String::from_utf8_lossy(name).into_owned(),
            method: short(10)? as u16,
            crc: number(16)?,
            packed: packed as usize,
            size: size as usize,
            offset: offset as usize,
        });
        at += 46 + short(28)? + short(30)? + short(32)?;
    }
    Ok(entries)
}

impl Entry {
    /// What it holds. A list that lies about the size costs no memory.
    ///
    /// # Errors
    /// What is damaged, in words.
    pub fn content(&self, archive: &[u8]) -> Result<Vec<u8>, String> {
        let damaged = |what: &str| format!("its entry {} {what}", self.name);
        let cut = || damaged("is cut off");
        let local = archive.get(self.offset..).filter(|entry| entry.starts_with(LOCAL)).ok_or_else(cut)?;
        let skipped = [26, 28].map(|at| u16_at(local, at).map(usize::from));
        let [Some(name), Some(extra)] = skipped else { return Err(cut()) };
        let start = 30 + name + extra;
        let packed = local.get(start..).and_then(|rest| rest.get(..self.packed)).ok_or_else(cut)?;
        let content = match self.method {
            0 => packed.to_vec(),
            8 => {
                let mut content = Vec::new();
                let mut stream = DeflateDecoder::new(packed).take(self.size as u64 + 1);
                stream.read_to_end(&mut content).map_err(|_| damaged("is damaged"))?;
                content
            }
            other => {
                return Err(damaged(&format!("is packed by method {other}, and 0 (stored) and 8 (deflated) are read")));
            }
        };
        let mut crc = Crc::new();
        crc.update(&content);
        if content.len() != self.size || crc.sum() != self.crc {
            return Err(damaged("is damaged: its size or its checksum is another"));
        }
        Ok(content)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|&b| u16::from_le_bytes(b))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|&b| u32::from_le_bytes(b))
}
