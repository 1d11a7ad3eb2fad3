//! Whole images out of a stream that may hand out less than it was asked for, break off or fail. Does no I/O of its own, so
//! the host can try it on every stream.

/// Why a stream of images cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// It ends within an image.
    CutOff,
    /// Reading failed.
    Unreadable,
}

impl StreamError {
    /// One line for the log.
    pub fn describe(self) -> &'static str {
        match self {
            StreamError::CutOff => "the file of images ends within an image",
            StreamError::Unreadable => "cannot read the file of images",
        }
    }
}

/// Fills the buffer as far as the stream goes and returns the number of images of `size` bytes: 0 at the end. `read` puts bytes at the start
/// of what it is lent and says how many; 0 is the end, and a number larger than what it was lent is a failure.
///
/// # Errors
/// [`StreamError`], where the stream does not end between two images.
pub fn fill<E>(
    buffer: &mut [u8],
    size: usize,
    mut read: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<usize, StreamError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(bytes) if bytes <= buffer.len() - filled => filled += bytes,
            _ => return Err(StreamError::Unreadable),
        }
    }
    if filled.is_multiple_of(size) { Ok(filled / size) } else { Err(StreamError::CutOff) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_claims_more_than_it_was_asked_for_is_refused() {
        let mut buffer = [0; 784];
        assert_eq!(fill(&mut buffer, 784, |room| Ok::<_, ()>(room.len() + 1)), Err(StreamError::Unreadable));
        assert_eq!(fill(&mut buffer, 784, |_| Err(())), Err(StreamError::Unreadable));
    }
}
