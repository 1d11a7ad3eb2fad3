//! The texts of an ELF's log: each is the name of a symbol in `.defmt`, and its address is the index that frames carry.

use std::collections::BTreeMap;

use object::{Object, ObjectSection, ObjectSymbol};
use serde::Deserialize;

use super::Level;

/// The versions of the wire format that are read.
const VERSIONS: [&str; 2] = ["3", "4"];

/// A text, and what defmt says about its use: `defmt_info`, `defmt_derived`, ...
#[derive(Deserialize)]
pub(super) struct Text {
    pub(super) tag: String,
    #[serde(rename = "data")]
    pub(super) text: String,
}

impl Text {
    /// The level of a line; `None` of what stands within lines.
    pub(super) fn level(&self) -> Option<Level> {
        match self.tag.as_str() {
            "defmt_error" => Some(Level::Error),
            "defmt_warn" => Some(Level::Warn),
            "defmt_info" | "defmt_println" => Some(Level::Info),
            "defmt_debug" | "defmt_trace" => Some(Level::Debug),
            _ => None,
        }
    }
}

/// All texts by their index.
#[derive(Default)]
pub(super) struct Table {
    pub(super) texts: BTreeMap<u64, Text>,
    /// Of the time that every frame begins with, where the firmware gives one.
    pub(super) timestamp: Option<String>,
}

impl Table {
    /// Reads an ELF.
    pub(super) fn parse(elf: &[u8]) -> Result<Self, String> {
        let file = object::File::parse(elf).map_err(|error| format!("its log cannot be decoded: {error}"))?;
        let said = |what: &str| {
            let mut names = file.symbols().filter_map(|symbol| symbol.name().ok());
            // Linkers keep the quotes of a linker script's name, or do not.
            names.find_map(|name| name.trim_matches('"').strip_prefix(what)?.strip_prefix(" = "))
        };
        let version = said("_defmt_version_").ok_or("its ELF has no texts for the log")?;
        if !VERSIONS.contains(&version) {
            let known = VERSIONS.join(" and ");
            return Err(format!("its log is of defmt's wire format {version}; {known} can be decoded"));
        }
        match said("_defmt_encoding_") {
            Some("rzcobs") => {}
            other => return Err(format!("its log is encoded as {}, not as rzcobs", other.unwrap_or("nothing"))),
        }
        let of_log = |name: &str| name == ".defmt" || name.starts_with(".defmt.");
        let sections: Vec<_> = file.sections().filter(|section| section.name().is_ok_and(of_log)).collect();
        let mut table = Self::default();
        for symbol in file.symbols() {
            let inside = sections.iter().any(|section| symbol.section_index() == Some(section.index()));
            let Some(name) = symbol.name().ok().filter(|name| inside && name.starts_with('{')) else { continue };
            let text: Text = serde_json::from_str(name).map_err(|_| format!("no text of a log: {name}"))?;
            if text.tag == "defmt_timestamp" {
                table.timestamp = Some(text.text);
            } else {
                table.texts.insert(symbol.address(), text);
            }
        }
        Ok(table)
    }
}
