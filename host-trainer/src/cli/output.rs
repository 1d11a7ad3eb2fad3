//! Printing: text or JSON to the result's writer, notices and errors to stderr.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::files;

pub(super) use crate::notice::notice;
pub(super) use crate::numbers::{percent, thousands};

/// Prints one JSON object on one line.
pub(super) fn json(out: &mut dyn Write, value: &impl Serialize) -> Result<()> {
    text(out, &(serde_json::to_string(value).expect("plain data is JSON") + "\n"))
}

/// Prints text as it is.
pub(super) fn text(out: &mut dyn Write, text: &str) -> Result<()> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::io("write", "standard output"))
}

/// Checks the place of a file that replaces another only with `--force`. What is written into, a pipe or a device, is not
/// replaced.
pub(super) fn check_new(out: &Path, force: bool) -> Result<()> {
    if out.is_file() && !force {
        return Err(Error::BadArgument {
            problem: format!("{} is there already", out.display()),
            remedy: "choose another --out, or replace it with --force".into(),
        });
    }
    files::check_output(out, &[])
}

/// Prints an error as one line on stderr.
pub fn report_error(error: &dyn std::fmt::Display) {
    let line = error.to_string().replace(['\n', '\r'], " ");
    notice(&format!("\x1b[1;31merror\x1b[0m: {line}"));
}

/// Lines of a label and a value, the values aligned.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<(String, String)>,
}

impl Table {
    /// Adds a line.
    pub(super) fn row(&mut self, label: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.rows.push((label.into(), value.into()));
        self
    }

    /// All lines.
    pub(super) fn render(&self) -> String {
        let width = self.rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        self.rows.iter().fold(String::new(), |mut text, (label, value)| {
            writeln!(text, "{label:width$}  {value}").expect("a string takes everything");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_aligned() {
        let mut table = Table::default();
        table.row("a", "1").row("longer", "2");
        assert_eq!(table.render(), "a       1\nlonger  2\n");
    }

    #[test]
    fn json_is_one_line() {
        let mut out = Vec::new();
        json(&mut out, &serde_json::json!({"a": 1})).unwrap();
        assert_eq!(out, b"{\"a\":1}\n");
    }
}
