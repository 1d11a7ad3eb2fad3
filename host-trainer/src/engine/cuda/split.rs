//! Splits on the device: each is uploaded once, as bytes, and found again by its content.

use cudarc::driver::CudaSlice;

use super::launch::Device;
use crate::data::Split;
use crate::error::Result;

/// Splits that are kept: one to train on, one to test on.
const KEPT: usize = 2;

/// A split in the device's memory.
pub(super) struct DeviceSplit {
    /// Tells splits apart, also from those uploaded earlier.
    pub(super) id: u64,
    /// Number of examples.
    pub(super) examples: usize,
    /// Pixels, `[examples][28][28]`.
    pub(super) images: CudaSlice<u8>,
    /// Classes, `[examples]`.
    pub(super) labels: CudaSlice<u8>,
    content: u64,
    address: Address,
}

/// Where a split lay in the host's memory. It may have been changed there since, or another may lie there.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Address(usize, usize, usize);

impl Address {
    fn of(split: &Split) -> Self {
        Self(split.images().as_ptr().addr(), split.labels.as_ptr().addr(), split.len())
    }
}

/// The splits that were used last, the last one first.
#[derive(Default)]
pub(super) struct DeviceSplits {
    kept: Vec<DeviceSplit>,
    uploads: u64,
}

impl DeviceSplits {
    /// Makes `split` the newest, uploading it if it is not there. Returns whether that is certain.
    ///
    /// A split is known by a hash of all its bytes. Hashing takes as long as an epoch on a fast device, so one that lies
    /// where it lay before is taken for the same, and the caller asks [`newest_is`](Self::newest_is) while the device works.
    pub(super) fn find(&mut self, device: &Device, split: &Split) -> Result<bool> {
        let address = Address::of(split);
        if let Some(position) = self.kept.iter().position(|kept| kept.address == address) {
            self.kept[..=position].rotate_right(1);
            return Ok(false);
        }
        let content = hash(split);
        match self.kept.iter().position(|kept| kept.content == content && kept.examples == split.len()) {
            Some(position) => {
                self.kept[..=position].rotate_right(1);
                self.kept[0].address = address;
            }
            None => {
                self.kept.truncate(KEPT - 1);
                self.uploads += 1;
                let images = device.upload(split.images().as_flattened().as_flattened())?;
                let labels = device.upload(&split.labels)?;
                let new = DeviceSplit { id: self.uploads, examples: split.len(), images, labels, content, address };
                self.kept.insert(0, new);
            }
        }
        Ok(true)
    }

    /// The split that was found last.
    ///
    /// # Panics
    /// If none was.
    pub(super) fn newest(&self) -> &DeviceSplit {
        &self.kept[0]
    }

    /// Whether the newest split holds what `split` holds.
    pub(super) fn newest_is(&self, split: &Split) -> bool {
        self.newest().content == hash(split)
    }

    /// Drops the newest split.
    pub(super) fn forget_newest(&mut self) {
        self.kept.remove(0);
    }
}

/// 64 bits of all pixels and labels.
fn hash(split: &Split) -> u64 {
    hash_bytes(split.images().as_flattened().as_flattened()) ^ hash_bytes(&split.labels).rotate_left(1)
}

/// Eight independent lanes, so that the speed is that of the memory.
fn hash_bytes(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (blocks, rest) = bytes.as_chunks::<64>();
    let mut lanes = [ODD; 8];
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
            *lane = (lane.rotate_left(29) ^ u64::from_le_bytes(*word)).wrapping_mul(ODD);
        }
    }
    let words = lanes.into_iter().chain(rest.iter().map(|&byte| u64::from(byte)));
    words.fold(bytes.len() as u64, |hash, word| {
        let mixed = (hash ^ word).wrapping_mul(ODD);
        mixed ^ (mixed >> 32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_pixel_or_label_is_another_split() {
        let split = Split::of_images(vec![[[7; 28]; 28]; 5], vec![0, 1, 2, 3, 4]);
        let mut hashes = vec![hash(&split)];
        for (image, row, column) in [(0, 0, 0), (2, 13, 27), (4, 27, 27)] {
            let mut changed = split.clone();
            changed.images_mut()[image][row][column] = 8;
            hashes.push(hash(&changed));
        }
        let mut changed = split.clone();
        changed.labels.swap(0, 4);
        hashes.push(hash(&changed));
        let shorter = split.first(4);
        hashes.push(hash(&shorter));
        assert_eq!(hash(&split.clone()), hashes[0]);
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 6);
    }
}
