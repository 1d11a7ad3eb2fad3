//! Decodes the firmware's defmt log: frames carry indices, the texts stand in the ELF.
//!
//! `defmt-parser` reads the format strings. `defmt-decoder`, which would do the rest, brings 64 further crates.

mod frame;
mod render;
mod table;

use std::fmt;

use anstyle::{AnsiColor, Style};

use frame::Frame;
use table::Table;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Detail, only with `DEFMT_LOG` set at build time.
    Debug,
    /// News.
    Info,
    /// Something is not as it should be.
    Warn,
    /// The program cannot go on.
    Error,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub text: String,
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, style) = match self.level {
            Level::Debug => ("DEBUG", Style::new().dimmed()),
            Level::Info => ("INFO ", AnsiColor::Green.on_default()),
            Level::Warn => ("WARN ", AnsiColor::Yellow.on_default()),
            Level::Error => ("ERROR", AnsiColor::Red.on_default()),
        };
        write!(f, "{style}{name}{style:#} {}", self.text)
    }
}

/// Decodes everything that a program wrote; a frame that was cut off by its end is left out.
pub(super) fn decode(elf: &[u8], bytes: &[u8]) -> Result<Vec<LogLine>, String> {
    let table = Table::parse(elf)?;
    // Every frame ends with a zero, and no other byte of it is one.
    let Some(end) = bytes.iter().rposition(|&byte| byte == 0) else { return Ok(Vec::new()) };
    let frames = bytes[..end].split(|&byte| byte == 0).filter(|frame| !frame.is_empty());
    let damaged = || LogLine { level: Level::Warn, text: "(a damaged line)".into() };
    Ok(frames.map(|frame| rzcobs(frame).and_then(|bytes| line(&table, &bytes)).unwrap_or_else(damaged)).collect())
}

/// Decodes a frame; `None` where it is damaged.
fn line(table: &Table, bytes: &[u8]) -> Option<LogLine> {
    let mut frame = Frame::new(table, bytes);
    let index = frame.index()?;
    if let Some(timestamp) = &table.timestamp {
        frame.arguments(timestamp)?;
    }
    let text = table.texts.get(&index)?;
    let level = text.level()?;
    let arguments = frame.arguments(&text.text)?;
    Some(LogLine { level, text: render::text(&text.text, &arguments)? })
}

/// Undoes the reverse zero-compressing encoding of one frame; `None` where it is damaged.
fn rzcobs(frame: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = frame.iter().rev().copied();
    while let Some(head) = rest.next() {
        match head {
            0 => return None,
            // A bit for each of seven bytes: set where the byte is a zero that was left out.
            0x01..=0x7f => {
                for bit in (0..7).rev() {
                    bytes.push(if head >> bit & 1 == 0 { rest.next()? } else { 0 });
                }
            }
            // So many bytes, behind a zero that was left out, where the run was not the longest.
            0x80..=0xff => {
                let count = if head == 0xff { 134 } else { usize::from(head & 0x7f) + 7 };
                if head != 0xff {
                    bytes.push(0);
                }
                for _ in 0..count {
                    bytes.push(rest.next()?);
                }
            }
        }
    }
    bytes.reverse();
    Some(bytes)
}

#[cfg(test)]
mod tests;
