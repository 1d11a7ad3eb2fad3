//! From [`Contents`] to the bytes of a file.

use std::format;
use std::string::String;
use std::vec::Vec;

use bytemuck::Zeroable as _;

use super::{Texts, WeightsFile};
use crate::format::{CRC, FORMAT_VERSION, FormatError, HEADER_BYTES, Header, MAGIC, checksum};
use crate::network::Network;
use crate::plan::{self, Step, TABLE_WORDS, WORD};
use crate::quant::Scale;

/// All that a file holds.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The network, BatchNorm as it was trained.
    pub network: Network<'a>,
    /// Its names; the classes are those of `network`.
    pub texts: &'a Texts,
    /// The plan.
    pub steps: &'a [Step],
    /// What integers mean: those of the input, then of each step's output.
    pub scales: &'a [Scale],
    /// Each step's stream, then the tables.
    pub streams: &'a [u32],
}

impl Contents<'_> {
    /// Writes a file, reads it again, and fills in the golden checksums of its layers.
    ///
    /// # Errors
    /// As [`WeightsFile::read`]: the numbers are not what the plan's families can trust.
    pub fn write(&self) -> Result<WeightsFile, FormatError> {
        let mut file = WeightsFile::read(&self.bytes())?;
        let goldens = file.compute_goldens();
        let streams_at = file.streams_at;
        file.words[streams_at - goldens.len()..streams_at].copy_from_slice(&goldens);
        file.goldens = goldens;
        file.header.checksum = checksum(file.model_bytes());
        file.words[core::mem::offset_of!(Header, checksum) / WORD] = file.header.checksum;
        Ok(file)
    }

    /// The bytes, with golden checksums of zero.
    fn bytes(&self) -> Vec<u8> {
        let mut description = Vec::new();
        self.network.encode(&mut |bytes| description.extend_from_slice(bytes));
        let text = self.text();
        let streams = self.steps.iter().map(|step| step.stream as usize).sum::<usize>();
        let header = Header {
            magic: MAGIC,
            format_version: FORMAT_VERSION,
            steps: self.steps.len() as u16,
            topology: self.network.topology.digest(),
            identity: self.network.identity(),
            plan: plan::digest(self.network.topology.digest(), self.steps),
            description_words: (description.len() / WORD) as u32,
            tables: (self.streams.len().saturating_sub(streams) / TABLE_WORDS) as u32,
            text_bytes: text.len() as u32,
            text_checksum: CRC.checksum(text.as_bytes()),
            ..Header::zeroed()
        };
        let goldens = std::vec![0_u8; WORD * self.steps.len()];
        let scales: &[u8] = bytemuck::cast_slice(self.scales);
        let sections = [
            bytemuck::bytes_of(&header),
            &description,
            bytemuck::cast_slice(self.steps),
            scales,
            &goldens,
            bytemuck::cast_slice(self.streams),
        ];
        let mut bytes = sections.concat();
        let length = bytes.len() as u32;
        bytes[core::mem::offset_of!(Header, length)..][..4].copy_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
        reseal(&mut bytes);
        bytes
    }

    /// Name of the network, number of classes, class names, then names of nodes: one a line, `POSITION NAME`.
    fn text(&self) -> String {
        let Texts { network, nodes, .. } = self.texts;
        let classes = self.network.classes;
        let mut text = format!("{network}\n{}\n", classes.lines().count());
        classes.lines().for_each(|class| text += &format!("{class}\n"));
        for (position, name) in nodes.iter().enumerate() {
            if let Some(name) = name {
                text += &format!("{position} {name}\n");
            }
        }
        text
    }
}

/// Gives a changed file the checksum that belongs to it, as a forger would. Too few bytes stay as they are.
pub fn reseal(bytes: &mut [u8]) {
    if bytes.len() < HEADER_BYTES {
        return;
    }
    let at = core::mem::offset_of!(Header, length);
    let length = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
    let computed = checksum(&bytes[..length.clamp(HEADER_BYTES, bytes.len())]);
    bytes[core::mem::offset_of!(Header, checksum)..][..4].copy_from_slice(&computed.to_le_bytes());
}
