//! The text of a generated module.

use std::borrow::ToOwned as _;
use std::fmt::Write as _;
use std::format;
use std::string::String;
use std::vec::Vec;

use crate::file::{FileStep, WeightsFile};
use crate::kernels::linear::BLOCK;
use crate::plan::{Family, NONE, TABLE_WORDS, WORD, quads};
use crate::quant::Quad;

/// The module of a file's plan. Beside it, `NAME.bin` holds the file without its texts.
pub fn generate(file: &WeightsFile, name: &str) -> String {
    let module = Module { file, name };
    let parts = [module.head(), module.types(), module.parse(), module.predict(), module.steps()];
    parts.join("\n")
}

struct Module<'a> {
    file: &'a WeightsFile,
    name: &'a str,
}

/// Part of the arena that a step uses, by the name of the variable.
struct Place {
    name: &'static str,
    at: usize,
    words: usize,
}

impl Module<'_> {
    fn words(&self) -> usize {
        self.file.words().len()
    }

    fn head(&self) -> String {
        let network = &self.file.texts().network;
        let Self { file, name } = self;
        let topology = file.network().topology;
        let (input, outputs, steps) = (topology.input, file.outputs(), file.steps().len());
        let classes: Vec<String> = file.network().class_names().map(|class| format!("{class:?}")).collect();
        let names: Vec<String> = (0..steps).map(|step| format!("{:?}", file.step_name(step))).collect();
        format!(
            "// The network {network:?} by its plan: made by bn_core::build, to be read, not to be changed.

use bn_core::generated::{{cast, cast_mut, in_step, open, part, split}};
use bn_core::kernels::{{linear, winograd5}};
use bn_core::quant::Quad;
use bn_core::{{FormatError, Prediction}};

/// Digest of the plan: every file of it can be used.
pub const PLAN: u32 = {plan:#010x};
/// Bytes of an input: {input}, channel, row, column.
pub const INPUT_BYTES: usize = {input_bytes};
/// Values of the output.
pub const OUTPUTS: usize = {outputs};
/// Names of the classes; empty for a network without classes.
pub const CLASS_NAMES: [&str; {class_count}] = [{classes}];
/// How many layers run one after another.
pub const STEPS: usize = {steps};
/// Names of these.
pub const STEP_NAMES: [&str; STEPS] = [{names}];
/// A logit is its integer times this.
pub const OUTPUT_SCALE: f32 = f32::from_bits({scale:#010x});
/// Bytes of a model.
pub const WEIGHTS_BYTES: usize = {bytes};
const WORDS: usize = WEIGHTS_BYTES / 4;
/// The model that the build was given.
pub const WEIGHTS: Weights = Weights(*include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}.bin\")));
",
            plan = file.header().plan,
            input_bytes = input.len(),
            class_count = classes.len(),
            classes = classes.join(", "),
            names = names.join(", "),
            scale = file.output_scale().scale.to_bits(),
            bytes = self.words() * WORD,
        )
    }

    fn types(&self) -> String {
        format!(
            "/// A model, as it lies in flash: words are read in place, so it begins at one.
#[repr(C, align(4))]
pub struct Weights(pub [u8; WEIGHTS_BYTES]);

/// An input, channel, row, column.
pub type Input = [u8; INPUT_BYTES];

/// All memory of an inference. Contents need not be cleared between inputs.
#[derive(Clone, Debug)]
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

    fn parse(&self) -> String {
        let mut text = "/// Reads a model in place: checks it once, so that nothing can fail after.
///
/// # Errors
/// Anything but a sound model of this plan, at a 4-byte aligned address.
pub fn parse(bytes: &[u8]) -> Result<Model<'_>, FormatError> {
    let words = open(bytes, PLAN)?;
    let model = Model(words);
"
        .to_owned();
        for at in 0..self.file.steps().len() {
            let _ = writeln!(text, "    in_step({at}, {})?;", self.check(at));
        }
        text + "    Ok(model)\n}\n"
    }

    fn predict(&self) -> String {
        let steps = self.file.steps();
        let arguments = |step: &FileStep| if step.step.input == NONE { "model, input, arena" } else { "model, arena" };
        let plain: String =
            steps.iter().enumerate().map(|(at, step)| format!("    step_{at}({});\n", arguments(step))).collect();
        let observed: String = steps
            .iter()
            .enumerate()
            .map(|(at, step)| format!("    observe({at}, &mut || step_{at}({}));\n", arguments(step)))
            .collect();
        let last = steps.last().map_or(0, |step| step.step.output);
        let arena = self.file.arena_words();
        format!(
            "/// Runs the network on an input.
pub fn predict(model: &Model<'_>, input: &Input, arena: &mut Arena) -> Prediction<OUTPUTS> {{
{plain}    output(arena)
}}

/// As [`predict`], with each step handed to `observe` as a piece of work that it must do once: to count what it costs.
pub fn predict_by_step(
    model: &Model<'_>,
    input: &Input,
    arena: &mut Arena,
    mut observe: impl FnMut(usize, &mut dyn FnMut()),
) -> Prediction<OUTPUTS> {{
{observed}    output(arena)
}}

fn output(arena: &Arena) -> Prediction<OUTPUTS> {{
    Prediction::new(cast(part::<{last}, OUTPUTS, {arena}>(&arena.0)))
}}
"
        )
    }

    fn steps(&self) -> String {
        let steps: Vec<String> = (0..self.file.steps().len()).map(|at| self.step(at)).collect();
        steps.join("\n")
    }

    /// The function of one step.
    fn step(&self, at: usize) -> String {
        let FileStep { step, family, shapes, .. } = self.file.steps()[at];
        let mut places = Vec::from([Place { name: "output", at: step.output as usize, words: shapes.output }]);
        let input = if step.input == NONE {
            "input: &Input, "
        } else {
            places.push(Place { name: "input", at: step.input as usize, words: shapes.input });
            ""
        };
        if shapes.scratch > 0 {
            places.push(Place { name: "scratch", at: step.scratch as usize, words: shapes.scratch });
        }
        format!(
            "/// {name}: {family}, nodes {first} to {last}.
#[inline(never)]
fn step_{at}(model: &Model<'_>, {input}arena: &mut Arena) {{
{places}    {call};
}}
",
            name = self.file.step_name(at),
            family = family.name(),
            first = step.first,
            last = step.last,
            places = take_apart(places),
            call = self.call(at),
        )
    }

    fn call(&self, at: usize) -> String {
        match self.file.steps()[at].family {
            Family::Winograd5Image | Family::Winograd5Maps => format!(
                "{}(
        cast({}),
        cast({}),
        cast(input),
        cast_mut(scratch),
        cast_mut(output),
    )",
                self.file.steps()[at].family.name(),
                self.stream(at),
                self.table(at)
            ),
            Family::LinearSigmoid => format!(
                "linear::sigmoid(
        &{},
        cast({}),
        cast(input),
        cast_mut::<_, [Quad; {}]>(output),
    )",
                self.linear(at),
                self.table(at),
                self.file.steps()[at].shapes.output * WORD / size_of::<Quad>(),
            ),
            Family::LinearLogits => {
                format!("linear::logits(&{}, cast(input), cast_mut(output))", self.linear(at))
            }
        }
    }

    fn check(&self, at: usize) -> String {
        let (inputs, outputs) = self.file.step_sizes(at);
        let (stream, family) = (self.stream(at), self.file.steps()[at].family);
        match family {
            Family::Winograd5Image | Family::Winograd5Maps => {
                let kind = if family == Family::Winograd5Image { "ImageStream" } else { "MapsStream" };
                format!("cast::<_, winograd5::{kind}>({stream}).check(cast({}))", self.table(at))
            }
            Family::LinearSigmoid => format!(
                "{}.check({inputs}, {outputs}).and_then(|()| bn_core::kernels::check_centred_table(cast({})))",
                self.linear(at),
                self.table(at)
            ),
            Family::LinearLogits => format!("{}.check({inputs}, {outputs})", self.linear(at)),
        }
    }

    fn stream(&self, at: usize) -> String {
        let FileStep { stream_at, shapes, .. } = self.file.steps()[at];
        format!("part::<{stream_at}, {}, WORDS>(model.0)", shapes.stream)
    }

    fn table(&self, at: usize) -> String {
        let table_at = self.file.steps()[at].table_at.expect("a step with a table");
        format!("part::<{table_at}, {TABLE_WORDS}, WORDS>(model.0)")
    }

    fn linear(&self, at: usize) -> String {
        let (inputs, outputs) = self.file.step_sizes(at);
        let (quads, blocks) = (quads(inputs), outputs.div_ceil(BLOCK));
        format!("linear::Stream::<{quads}, {blocks}>::new({})", self.stream(at))
    }
}

/// Lines that name parts of the arena, in the order in which they lie there.
fn take_apart(mut places: Vec<Place>) -> String {
    places.sort_by_key(|place| place.at);
    let (mut text, mut rest, mut end) = (String::new(), "&mut arena.0", 0);
    for Place { name, at, words } in places {
        if at > end {
            let _ = writeln!(text, "    let (_, rest) = split::<{}>({rest});", at - end);
            rest = "rest";
        }
        let _ = writeln!(text, "    let ({name}, rest) = split::<{words}>({rest});");
        (rest, end) = ("rest", at + words);
    }
    // The last of them needs no rest.
    match text.rfind(", rest) =") {
        Some(at) => text.replace_range(at..at + ", rest) =".len(), ", _) ="),
        None => unreachable!("every step has an output"),
    }
    text
}
