//! A digest over a whole checkpoint, in the checkpoint: safetensors has none, and one flipped bit of a weight is a weight
//! too. It finds damage, not forgery. Touches no file.

/// What stands before the digest: JSON within a string of JSON.
const BEFORE: &[u8] = br#"\"digest\":\""#;
/// What is digested in the digest's own place, and what a file has there that was not sealed.
pub(super) const BLANK: &str = "00000000000000000000000000000000";

/// Puts the digest of `bytes` over the blank in them.
pub(super) fn seal(bytes: &mut [u8]) {
    let place = place(bytes).expect("a checkpoint's metadata has a place for it");
    let digest = digest(bytes, place);
    bytes[place..place + BLANK.len()].copy_from_slice(digest.as_bytes());
}

/// Whether no bit has changed since `bytes` were sealed.
pub(super) fn holds(bytes: &[u8]) -> bool {
    place(bytes).is_some_and(|place| digest(bytes, place).as_bytes() == &bytes[place..place + BLANK.len()])
}

/// Where the digest stands. Strings cannot imitate what stands before it: their quotes are escaped once more.
fn place(bytes: &[u8]) -> Option<usize> {
    let place = bytes.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    (place + BLANK.len() <= bytes.len()).then_some(place)
}

/// Of everything, with the blank in the digest's place.
fn digest(bytes: &[u8], place: usize) -> String {
    let mut md5 = md5::Context::new();
    md5.consume(&bytes[..place]);
    md5.consume(BLANK);
    md5.consume(&bytes[place + BLANK.len()..]);
    format!("{:x}", md5.finalize())
}
