//! The firmware's defmt log, decoded: frames carry indices, the texts stand in the ELF.

use std::fmt;

use anstyle::{AnsiColor, Style};
use defmt_decoder::{DecodeError, Table};

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
    let table = Table::parse(elf).map_err(|error| format!("its log cannot be decoded: {error}"))?;
    let table = table.ok_or("its ELF has no texts for the log")?;
    let mut decoder = table.new_stream_decoder();
    decoder.received(bytes);
    let mut lines = Vec::new();
    loop {
        match decoder.decode() {
            Ok(frame) => {
                let level = match frame.level().map(|level| level.as_str()) {
                    Some("error") => Level::Error,
                    Some("warn") => Level::Warn,
                    Some("debug" | "trace") => Level::Debug,
                    _ => Level::Info,
                };
                lines.push(LogLine { level, text: frame.display_message().to_string() });
            }
            Err(DecodeError::UnexpectedEof) => return Ok(lines),
            // The encoding finds the next frame by itself.
            Err(DecodeError::Malformed) => lines.push(LogLine { level: Level::Warn, text: "(a damaged line)".into() }),
        }
    }
}
