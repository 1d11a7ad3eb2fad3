//! How much memory a reader takes, counted by the allocator: a header that lies must not be obeyed.

/// What work may hold whatever the file says: tables of a decompressor, messages, the names of tensors.
const ALWAYS: u64 = 128 << 10;

/// Does the work, which may hold at most so many bytes at a time, besides [`ALWAYS`].
///
/// # Panics
/// If it held more.
pub(super) fn within<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let mut result = None;
    let counted = allocation_counter::measure(|| result = Some(work()));
    let (held, most) = (counted.bytes_max, bytes as u64 + ALWAYS);
    assert!(held <= most, "{held} bytes of memory, more than {most}");
    result.expect("the work was done")
}
