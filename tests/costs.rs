//! What `plan` says a layer takes is what the emulator counts, by family, core and shape. Needs QEMU for Arm and RISC-V, and the
//! targets.

use std::sync::Arc;

use bn_core::file::WeightsFile;
use bn_core::kernels::Core;
use bn_core::plan::{Family, Goal, plan, plan_by};
use host_trainer::data::{Inputs, Split};
use host_trainer::device::emulate::{EmulateRequest, Machine, emulate};
use host_trainer::device::firmware::Build;
use host_trainer::engine::init::kaiming_parameters;
use host_trainer::model::parameters::Variance;
use host_trainer::network::text;
use host_trainer::quantize::general::{Request, quantize};

use crate::emulator::prepare;

/// Layers of every family in several sizes: bytes and packed maps, channels that fill no word, sums, tables.
const LAYERS: &str = "network costs
input 3x24x24
preprocess scale 1/255

conv2d 8 3x3 pad 1 | relu
conv2d 16 3x3 pad 1 | relu as a
conv2d 16 3x3 pad 1 | add a | relu
avg_pool2d 3x3 stride 1 pad 1
depthwise 3x3 pad 1 | relu
conv2d 32 1x1 | relu
depthwise 3x3 stride 2 pad 1 | relu
conv2d 32 1x1 | relu as b
conv2d 32 3x3 pad 1 | add b | relu
conv2d 13 3x3 pad 1 | relu
conv2d 13 3x3 | relu
conv2d 13 1x1 | relu as d
conv2d 13 1x1 | add d | relu
conv2d 13 1x1 | sigmoid
depthwise 5x5 pad 2 | relu
conv2d 24 3x3 stride 2 pad 1 | relu as c
max_pool2d 3x3 stride 1 pad 1 | add c | relu
depthwise 3x3 pad 1 | relu
conv2d 64 3x3 pad 1 | relu
depthwise 3x3 pad 1 | relu
conv2d 64 1x1 | relu
max_pool2d 2x2 stride 1
avg_pool2d 2x2 stride 1
conv2d 48 1x1 | relu
global_avg_pool
flatten | sigmoid | linear 128 | relu
linear 32 | relu
linear 10
";

/// How far a layer's prediction may be from its count, as a factor, on a core without the DSP extension; of the others both are
/// printed.
const APART: f64 = 1.25;
/// The machines that count, and the cores that they are.
const MACHINES: [(Machine, Core); 4] = [
    (Machine::Mps2An386, Core::M4),
    (Machine::Mps2An385, Core::M3),
    (Machine::Mps2Armv6M, Core::M0),
    (Machine::Riscv32, Core::Riscv),
];

/// The layers by the special families, and by those that take any shape.
fn files() -> ([WeightsFile; 2], Split) {
    let network = Arc::new(text::parse(LAYERS).expect("a network"));
    let parameters = kaiming_parameters(&network, 1, Variance::Biased);
    let inputs = Inputs::noise(&network, 1);
    let steps = plan(&network.view(), &Goal::default()).expect("a plan");
    // The best for each layer, but for a convolution two steps apart, which is too small for its own.
    let best = steps.iter().filter_map(|step| Some((Family::of_number(step.family)?, step.first)));
    let special: Vec<Family> = best
        .map(|(family, first)| match Family::Polyphase3.takes(&network.topology(), first.into()) {
            Some(_) if family == Family::Conv => Family::Polyphase3,
            _ => family,
        })
        .collect();
    let plain = special.iter().map(|family| match family {
        Family::Winograd3 | Family::Polyphase3 | Family::Pointwise => Family::Conv,
        Family::Winograd3Add | Family::PointwiseAdd => Family::ConvAdd,
        Family::Depthwise3 => Family::Depthwise,
        other => *other,
    });
    let file = |families: &[Family]| {
        let steps = plan_by(&network.topology(), families).expect("a plan");
        let (parameters, steps, inputs) = (&parameters, &steps[..], &inputs);
        quantize(&Request { parameters, steps, inputs, keep_dead: true, fine_tuning: None }).expect("integers").file
    };
    let files = [file(&special), file(&plain.collect::<Vec<_>>())];
    (files, Split { inputs: inputs.first(1), labels: Vec::new() })
}

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn layers_take_what_the_plan_says() {
    let (files, images) = files();
    let mut wrong = Vec::new();
    for (machine, core) in MACHINES.into_iter().inspect(|(machine, _)| prepare(*machine)) {
        for weights in &files {
            let report = emulate(&EmulateRequest { weights, machine, images: &images, build: Build::Default });
            let report = report.expect("it runs");
            report.verdict().unwrap_or_else(|error| panic!("{machine}: {error}"));
            for (at, layer) in report.layers.iter().enumerate() {
                let kernel = weights.layer(at).expect("a family that takes any shape").kernel;
                let (said, counted) = (kernel.cost(core), layer.instructions.expect("it counts"));
                println!("{machine};{};{said};{counted};{kernel:?}", weights.steps()[at].family.name());
                let ratio = said as f64 / counted as f64;
                if !core.has_dsp() && !(1.0 / APART..APART).contains(&ratio) {
                    wrong.push(format!("{machine} {} {kernel:?}: {said} said, {counted} counted", layer.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
