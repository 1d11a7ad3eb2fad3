//! The text of a generated module: constants, the parser, and each step. Its types are in `types`.

use std::borrow::ToOwned as _;
use std::fmt::Write as _;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::types::logit_bits;
use crate::file::{FileStep, WeightsFile};
use crate::kernels::linear::BLOCK;
use crate::plan::{self, Family, Kernel, NONE, TABLE_WORDS, WORD, quads};
use crate::quant::Quad;

/// The module of a file's plan. Beside it, `NAME.bin` holds the file without its texts.
pub fn generate(file: &WeightsFile, name: &str) -> String {
    let module = Module { file, name };
    let parts = [module.head(), module.types(), module.parse(), module.predict(), module.run(), module.steps()];
    parts.join("\n")
}

pub(super) struct Module<'a> {
    pub(super) file: &'a WeightsFile,
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
        let of_steps = |of: &dyn Fn(usize) -> String| (0..steps).map(of).collect::<Vec<_>>().join(", ");
        format!(
            "// The network {network:?} by its plan: made by bn_core::build, to be read, not to be changed.

use bn_core::quant::Scale;
#[allow(unused_imports, reason = \"each plan uses some of them\")]
use bn_core::generated::{{cast, cast_mut, in_step, open, part, split}};
#[allow(unused_imports, reason = \"each plan uses some of them\")]
use bn_core::kernels::{{
    add, conv, depthwise, depthwise3, linear, packed, pointwise, polyphase3, pool, winograd3, winograd5,
}};
#[allow(unused_imports, reason = \"each plan uses some of them\")]
use bn_core::network::Shape;
use bn_core::plan::Filled;
#[allow(unused_imports, reason = \"each plan uses some of them\")]
use bn_core::quant::Quad;
use bn_core::FormatError;

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
/// Words of the output of each.
pub const STEP_WORDS: [usize; STEPS] = [{words}];
/// Where values lie among these words.
pub const STEP_FILLED: [Filled; STEPS] = [{filled}];
/// What the bytes of an input mean, for `bn_core::quant::quantize_input` of a sensor's f32. Bytes of pixels go in as they are.
pub const INPUT_SCALE: Scale = Scale {{ scale: f32::from_bits({input_scale:#010x}), zero_point: {input_zero} }};
/// An integer of the output.
pub type Logit = i{bits};
/// What an inference says.
pub type Prediction<'a> = bn_core::Prediction<'a, OUTPUTS, Logit>;
/// A logit is its integer times this.
pub const OUTPUT_SCALE: f32 = f32::from_bits({scale:#010x});
/// Bytes of a model.
pub const WEIGHTS_BYTES: usize = {bytes};
const WORDS: usize = WEIGHTS_BYTES / 4;
/// The model that the build was given.
pub const WEIGHTS: Weights = Weights(*include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}.bin\")));
",
            plan = file.header().plan,
            bits = logit_bits(self.file),
            input_bytes = input.len(),
            class_count = classes.len(),
            classes = classes.join(", "),
            names = of_steps(&|step| format!("{:?}", file.step_name(step))),
            words = of_steps(&|step| format!("{}", file.steps()[step].shapes.output)),
            filled = of_steps(&|step| format!("{:?}", file.step_filled(step))),
            input_scale = file.input_scale().scale.to_bits(),
            input_zero = file.input_scale().zero_point,
            scale = file.output_scale().scale.to_bits(),
            bytes = self.words() * WORD,
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

    /// What the function of a step is called with.
    pub(super) fn arguments(step: &FileStep) -> &'static str {
        let reads_input = step.step.input == NONE || step.other == Some(NONE);
        if reads_input { "model, input, arena" } else { "model, arena" }
    }

    fn predict(&self) -> String {
        let steps = self.file.steps();
        let plain: String =
            steps.iter().enumerate().map(|(at, step)| format!("    step_{at}({});\n", Self::arguments(step))).collect();
        let observed: String = steps
            .iter()
            .enumerate()
            .map(|(at, step)| format!("    observe({at}, arena, &|arena| step_{at}({}));\n", Self::arguments(step)))
            .collect();
        let outputs: String = steps.iter().enumerate().map(|(at, step)| self.step_output(at, step)).collect();
        let (last, words) = steps.last().map_or((0, 0), |step| (step.step.output, step.shapes.output));
        let values = words * u32::BITS as usize / logit_bits(self.file);
        let arena = self.file.arena_words();
        format!(
            "/// Runs the network on an input.
pub fn predict<'a>(model: &Model<'_>, input: &Input, arena: &'a mut Arena) -> Prediction<'a> {{
{plain}    output(arena)
}}

/// As [`predict`], with each step handed to `observe` as a piece of work that it must do once on the arena: to count what it
/// costs, or to look at [`step_output`] before a later step lies there.
pub fn predict_by_step<'a>(
    model: &Model<'_>,
    input: &Input,
    arena: &'a mut Arena,
    mut observe: impl FnMut(usize, &mut Arena, &dyn Fn(&mut Arena)),
) -> Prediction<'a> {{
{observed}    output(arena)
}}

/// What a step has given, right after it; nothing where there is no such step.
pub fn step_output(arena: &Arena, step: usize) -> &[u32] {{
    match step {{
{outputs}        _ => &[],
    }}
}}

fn output(arena: &Arena) -> Prediction<'_> {{
    let output: &[Logit; {values}] = cast(part::<{last}, {words}, {arena}>(&arena.0));
    Prediction {{ logits: output.first_chunk().unwrap_or(&[0; OUTPUTS]) }}
}}
"
        )
    }

    fn step_output(&self, at: usize, FileStep { step, shapes, .. }: &FileStep) -> String {
        format!("        {at} => part::<{}, {}, {}>(&arena.0),\n", step.output, shapes.output, self.file.arena_words())
    }

    fn steps(&self) -> String {
        let steps: Vec<String> = (0..self.file.steps().len()).map(|at| self.sizes(at) + &self.step(at)).collect();
        steps.join("\n")
    }

    /// The sizes of a step whose family takes any shape.
    fn sizes(&self, at: usize) -> String {
        let Some(layer) = self.file.layer(at) else { return String::new() };
        let (kind, sizes) = match layer.kernel {
            Kernel::Winograd3(shape) => ("winograd3::Winograd3", format!("{shape:?}")),
            Kernel::Pointwise(shape) => ("pointwise::Pointwise", format!("{shape:?}")),
            Kernel::Polyphase3(shape) => ("polyphase3::Polyphase3", format!("{shape:?}")),
            Kernel::Conv(shape) => ("conv::Conv", format!("{shape:?}")),
            Kernel::Depthwise3(shape) => ("depthwise3::Depthwise3", format!("{shape:?}")),
            Kernel::Depthwise(shape) => ("depthwise::Depthwise", format!("{shape:?}")),
            Kernel::MeanPool(shape) | Kernel::MaxPool(shape) => ("pool::Pool", format!("{shape:?}")),
            Kernel::Add(shape) => ("add::Add", format!("{shape:?}")),
            Kernel::Flatten(shape) => ("Shape", format!("{shape:?}")),
        };
        let (module, _) = kind.split_once("::").unwrap_or_default();
        let sizes = sizes.replace("Window {", "packed::Window {");
        let sizes = if module.is_empty() { sizes } else { format!("{module}::{sizes}") };
        format!("const SIZES_{at}: {kind} = {sizes};\n\n")
    }

    /// The function of one step.
    fn step(&self, at: usize) -> String {
        let FileStep { step, family, shapes, .. } = self.file.steps()[at];
        let shared = self.shared(at);
        let words = if shared[0] { shapes.output.max(shapes.input) } else { shapes.output };
        let mut places = Vec::from([Place { name: "output", at: step.output as usize, words }]);
        let mut input = "";
        for (second, (name, place, words)) in self.terms(at).into_iter().enumerate() {
            match place {
                NONE => input = "input: &Input, ",
                _ if shared[second] => {}
                place => places.push(Place { name, at: place as usize, words }),
            }
        }
        if shapes.scratch > 0 {
            places.push(Place { name: "scratch", at: step.scratch as usize, words: shapes.scratch });
        }
        format!(
            "/// {name}: {family}, nodes {first} to {last}.
#[inline(never)]
fn step_{at}({model}: &Model<'_>, {input}arena: &mut Arena) {{
{places}    {call};
}}
",
            name = self.file.step_name(at),
            family = family.name(),
            first = step.first,
            last = step.last,
            places = take_apart(places),
            call = self.call(at),
            model = if shapes.stream > 0 || shapes.table { "model" } else { "_model" },
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
            _ => self.call_layer(at),
        }
    }

    /// What a step reads: the name of the variable, its place, its words. A sum of a map and itself reads one.
    fn terms(&self, at: usize) -> Vec<(&'static str, u32, usize)> {
        let FileStep { step, shapes, other, .. } = &self.file.steps()[at];
        let [first, second] = shapes.terms(&self.file.network().topology, step.first.into());
        let words = |term: Option<plan::Term>| term.map_or(0, |(.., words)| words);
        let second = other.filter(|&place| place == NONE || place != step.input).map(|at| ("other", at, words(second)));
        [("input", step.input, words(first))].into_iter().chain(second).collect()
    }

    /// Whether the output takes the place of the input, and of the second term.
    fn shared(&self, at: usize) -> [bool; 2] {
        let FileStep { step, shapes, other, .. } = self.file.steps()[at];
        let input = step.input != NONE && shapes.may_share(step.input as usize, step.output as usize);
        [input, shapes.other_in_place && other == Some(step.output)]
    }

    /// The call of a step whose family takes any shape.
    fn call_layer(&self, at: usize) -> String {
        let FileStep { step, family, shapes, table_at, other, .. } = self.file.steps()[at];
        let term = |place: u32, name| {
            if place == NONE { "packed::Input::Bytes(input)".into() } else { format!("packed::Input::Packed({name})") }
        };
        let (first, shared) = (term(step.input, "input"), self.shared(at));
        let second = other.map(|place| term(place, if place == step.input { "input" } else { "other" }));
        let mut arguments = Vec::from([format!("&SIZES_{at}")]);
        if shapes.stream > 0 {
            arguments.push(self.stream(at));
        }
        if matches!(family, Family::Conv | Family::ConvAdd | Family::Depthwise | Family::Add) {
            arguments.push(table_at.map_or("None".into(), |_| format!("Some(cast({}))", self.table(at))));
        }
        let scratch = if shapes.scratch == 0 { "&mut []" } else { "scratch" };
        match family {
            Family::Conv
            | Family::ConvAdd
            | Family::Winograd3
            | Family::Winograd3Add
            | Family::Pointwise
            | Family::PointwiseAdd
            | Family::Polyphase3
            | Family::Depthwise3 => {
                let or_none = |is_shared: bool, term: Option<String>| {
                    term.filter(|_| !is_shared).map_or("None".into(), |term| format!("Some({term})"))
                };
                let (input, added) = (or_none(shared[0], Some(first)), or_none(shared[1], second));
                arguments.push(format!("packed::Maps {{ input: {input}, added: {added}, output }}"));
                arguments.push(scratch.into());
            }
            Family::Depthwise => arguments.extend([first, scratch.into(), "output".into()]),
            _ => {
                arguments.push(second.map_or(first.clone(), |second| format!("[{first}, {second}]")));
                arguments.push("output".into());
            }
        }
        format!("{}({})", self.function(at), arguments.join(", "))
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
            Family::MaxPool | Family::Flatten => "Ok(())".into(),
            Family::MeanPool => format!("pool::check_mean(&SIZES_{at}, {stream})"),
            _ => {
                let (module, _) = family.name().split_once("::").expect("a function of a module");
                format!("{module}::check(&SIZES_{at}, {stream})")
            }
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

    /// The function of a step whose family takes any shape, with what of that is a constant of it.
    fn function(&self, at: usize) -> String {
        let name = self.file.steps()[at].family.name();
        let (module, _) = name.split_once("::").expect("a function of a module");
        match self.file.layer(at).map(|layer| layer.kernel) {
            Some(Kernel::Winograd3(shape)) => format!("{module}::winograd3::<{}, {}>", shape.quads(), shape.adds),
            Some(Kernel::Polyphase3(shape)) => format!("{module}::polyphase3::<{}>", shape.quads()),
            Some(Kernel::Pointwise(shape)) => format!("{module}::pointwise::<{}, {}>", shape.is_wide(), shape.adds),
            Some(Kernel::Conv(_) | Kernel::Depthwise3(_) | Kernel::Depthwise(_)) => format!("{module}::{module}"),
            _ => name.into(),
        }
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
