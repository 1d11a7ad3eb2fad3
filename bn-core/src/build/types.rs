//! The types of a generated module: model, input, arena, and an inference that stops after each step.

use std::format;
use std::string::String;

use super::code::Module;
use crate::file::WeightsFile;
use crate::plan::Form;

impl Module<'_> {
    pub(super) fn types(&self) -> String {
        format!(
            "/// A model, as it lies in flash: words are read in place, so it begins at one.
#[repr(C, align(4))]
pub struct Weights(pub [u8; WEIGHTS_BYTES]);

/// An input, channel, row, column.
pub type Input = [u8; INPUT_BYTES];

/// All memory of an inference. Contents need not be cleared between inputs.
#[derive(Clone, Debug)]
#[repr(transparent)]
pub struct Arena([u32; {arena}]);

impl Arena {{
    /// All zero.
    pub const fn new() -> Self {{
        Self([0; {arena}])
    }}
}}

impl Default for Arena {{
    fn default() -> Self {{
        Self::new()
    }}
}}

/// A model that [`parse`] has accepted: every range is proved, inference cannot fail.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Model<'a>(&'a [u32; WORDS]);

impl Model<'_> {{
    /// The checksum in the file: which model this is.
    pub fn checksum(&self) -> u32 {{
        self.0[2]
    }}
}}
",
            arena = self.file.arena_words(),
        )
    }

    /// Steps one at a time, for programs with other work to do between them.
    pub(super) fn run(&self) -> String {
        let steps = self.file.steps().iter().enumerate();
        let arms: String =
            steps.map(|(at, step)| format!("            {at} => step_{at}({}),\n", Self::arguments(step))).collect();
        format!(
            "/// An inference that stops after each step.
#[derive(Debug)]
pub struct Run<'a> {{
    model: Model<'a>,
    input: &'a Input,
    arena: &'a mut Arena,
    next: usize,
}}

/// As [`predict`], a step at a time: for programs that have other work to do between steps.
pub fn start<'a>(model: &Model<'a>, input: &'a Input, arena: &'a mut Arena) -> Run<'a> {{
    Run {{ model: *model, input, arena, next: 0 }}
}}

impl Run<'_> {{
    /// Does the next step, and says what the network says after the last one.
    pub fn step(&mut self) -> Option<Prediction<'_>> {{
        let Self {{ model, input, arena, next }} = self;
        match *next {{
{arms}            _ => {{}}
        }}
        *next = next.saturating_add(1).min(STEPS);
        (*next == STEPS).then(|| output(arena))
    }}
}}
"
        )
    }
}

/// Bits of an integer of the output.
pub(super) fn logit_bits(file: &WeightsFile) -> usize {
    if file.output_form(file.steps().len() - 1) == Form::Halves { 16 } else { 32 }
}
