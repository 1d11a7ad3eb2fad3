//! Instructions layer by layer on every Arm core, beside CMSIS-NN's: writes docs/layers.md, or holds it to what is measured.
//!
//! ```text
//! BN_WRITE_FIGURES=1 cargo test -p tests layers:: -- --ignored
//! ```
//!
//! Needs QEMU for Arm, the targets, and the public networks. CMSIS-NN's counts are golden: `golden/cmsis_nn.csv`.

use std::fmt::Write as _;
use std::fs;

use bn_core::file::WeightsFile;
use bn_core::kernels::Core;
use host_trainer::device::emulate::{EmulateReport, LayerProfile, Machine};
use host_trainer::device::firmware::workspace_root;
use host_trainer::export::Channels;

use crate::emulator::prepare;
use crate::zoo_device::{INPUTS, checked, exported, figures_are, thousands};

const PLACE: &str = "docs/layers.md";
const HEAD: &str = "# Layer by layer

Instructions that MLPerf Tiny's four networks take on emulated Cortex-M cores, beside those of CMSIS-NN. `BN_WRITE_FIGURES=1 cargo test -p tests layers:: --
--ignored` writes this page, and without that variable holds it to what is measured.

- **Instructions, not cycles**: counted by QEMU, one inference from u8 input to outputs. Nothing here was timed, and nothing has run on hardware.
- **CMSIS-NN** is commit 99f736a6 as TFLite-Micro calls it (GCC 12.2, -Ofast), counted in the same way; its softmax, at most
  0.05 %, is left out but of its best build (-O2 with `CMSIS_NN_USE_REQUANTIZE_INLINE_ASSEMBLY`), which is given for the Cortex-M4. No dead channels are
  taken out, there or here.
- Cortex-M4, M7 and M33 run one file, planned for the M4; Cortex-M3 and Armv6-M each their own plan (`export --core m3`, `--core m0`).
- **Flash** is an inference's code, weights and tables; **RAM** its maps, scratch and painted stack, without the input.

";

/// A network: its file's name, what people call it, and CMSIS-NN's total in its best build on the Cortex-M4.
const NETWORKS: [(&str, &str, usize); 4] = [
    ("resnet8", "ResNet8", 28_500_369),
    ("ds_cnn", "DS-CNN", 7_222_553),
    ("mobilenet_v1_025_vww96", "MobileNetV1 0.25, 96x96", 22_601_622),
    ("autoencoder", "AutoEncoder", 570_455),
];

/// Cores by the plan that they run, in the order of the golden counts.
const CORES: [(&str, Machine, Core); 5] = [
    ("Cortex-M4", Machine::Mps2An386, Core::M4),
    ("Cortex-M7", Machine::Mps2An500, Core::M4),
    ("Cortex-M33", Machine::Mps2An505, Core::M4),
    ("Cortex-M3", Machine::Mps2An385, Core::M3),
    ("Armv6-M", Machine::Mps2Armv6M, Core::M0),
];
/// Those whose layers are shown: the first three hardly differ.
const SHOWN: [usize; 3] = [0, 3, 4];

/// A layer of CMSIS-NN.
struct Theirs {
    shape: String,
    kind: String,
    macs: usize,
    /// By core.
    instructions: [usize; CORES.len()],
}

/// The layers of a network, without softmax.
fn theirs(network: &str) -> Vec<Theirs> {
    let lines = include_str!("golden/cmsis_nn.csv").lines().filter(|line| !line.starts_with('#')).skip(1);
    let fields = lines.map(|line| line.split(',').collect::<Vec<_>>()).filter(|fields| fields[0] == network);
    let number = |text: &str| text.parse::<usize>().expect("a whole number");
    let layer = |fields: Vec<&str>| Theirs {
        shape: fields[1].into(),
        kind: fields[2].into(),
        macs: number(fields[3]),
        instructions: std::array::from_fn(|core| number(fields[4 + core])),
    };
    fields.map(layer).filter(|layer| layer.kind != "softmax").collect()
}

/// By each of our layers the positions of CMSIS-NN's that it does the work of: of those with as many products the next, a pool for a
/// pool, a sum for each sum.
fn matched(ours: &[LayerProfile], theirs: &[Theirs]) -> Vec<Vec<usize>> {
    let mut left: Vec<usize> = (0..theirs.len()).collect();
    let mut take = |is: &dyn Fn(&Theirs) -> bool| {
        left.remove(left.iter().position(|&at| is(&theirs[at])).expect("CMSIS-NN has the layer"))
    };
    let layer = |ours: &LayerProfile| {
        let adds = ours.family.ends_with("::add");
        let pools = ours.macs == 0 && !adds;
        let products = (ours.macs > 0).then(|| take(&|theirs| theirs.macs == ours.macs));
        let pool = pools.then(|| take(&|theirs| theirs.kind == "pool"));
        let sum = adds.then(|| take(&|theirs| theirs.kind == "add"));
        [products, pool, sum].into_iter().flatten().collect()
    };
    let all = ours.iter().map(layer).collect();
    assert!(left.is_empty(), "layers of CMSIS-NN that no layer matches");
    all
}

/// Positions of CMSIS-NN's layers that belong together, because a layer of some core does the work of several.
fn rows(matched: &[Vec<Vec<usize>>], count: usize) -> Vec<Vec<usize>> {
    let mut row: Vec<usize> = (0..count).collect();
    for layer in matched.iter().flatten() {
        let first = layer.iter().map(|&at| row[at]).min().expect("a layer does some work");
        let joined: Vec<usize> = layer.iter().map(|&at| row[at]).collect();
        row.iter_mut().filter(|row| joined.contains(row)).for_each(|row| *row = first);
    }
    let members = |of| (0..count).filter(|&at| row[at] == of).collect::<Vec<_>>();
    (0..count).map(members).filter(|row| !row.is_empty()).collect()
}

/// A network on every core.
fn section(name: &str, title: &str, best: usize) -> String {
    let files = [Core::M4, Core::M3, Core::M0].map(|core| (core, exported(name, Channels::All, core)));
    let reports = CORES.map(|(_, machine, core)| {
        let (_, (file, data)): &(Core, (WeightsFile, _)) = files.iter().find(|of| of.0 == core).expect("a plan");
        checked(file, machine, data.inputs.first(INPUTS))
    });
    let theirs = theirs(name);
    let mut text = format!("## {title}\n\n{}", totals(&reports, &theirs, best));
    let matched = SHOWN.map(|core| matched(&reports[core].layers, &theirs));
    text += "\n| layer | shape | products | Cortex-M4 by | instructions | CMSIS-NN | Cortex-M3 | CMSIS-NN | Armv6-M | CMSIS-NN |\n";
    text += "|---|---|---:|---|---:|---:|---:|---:|---:|---:|\n";
    for row in rows(&matched, theirs.len()) {
        let here = |matched: &[Vec<usize>], layers: &'_ [LayerProfile]| -> Vec<LayerProfile> {
            let is_here = |layer: &[usize]| layer.iter().all(|at| row.contains(at));
            layers.iter().zip(matched).filter(|(_, layer)| is_here(layer)).map(|(layer, _)| layer.clone()).collect()
        };
        let ours = SHOWN.into_iter().zip(&matched).map(|(core, matched)| here(matched, &reports[core].layers));
        let ours: Vec<Vec<LayerProfile>> = ours.collect();
        let joined = |names: &mut dyn Iterator<Item = String>| names.collect::<Vec<_>>().join(" + ");
        let kinds = joined(&mut row.iter().map(|&at| theirs[at].kind.clone()));
        let families = joined(&mut ours[0].iter().map(|layer| format!("`{}`", layer.family)));
        let products = thousands(ours[0].iter().map(|layer| layer.macs).sum());
        let _ = write!(text, "| {kinds} | {} | {products} | {families} |", theirs[row[0]].shape);
        for (core, ours) in SHOWN.into_iter().zip(&ours) {
            let counted: u64 = ours.iter().map(|layer| layer.instructions.expect("it is counted")).sum();
            let beside = row.iter().map(|&at| theirs[at].instructions[core]).sum();
            let _ = write!(text, " {} | {} |", thousands(counted as usize), thousands(beside));
        }
        text += "\n";
    }
    text + "\n"
}

fn totals(reports: &[EmulateReport; CORES.len()], theirs: &[Theirs], best: usize) -> String {
    let mut text =
        String::from("| core | instructions | CMSIS-NN | share | flash | RAM |\n|---|---:|---:|---:|---:|---:|\n");
    for (core, (report, (name, ..))) in reports.iter().zip(CORES).enumerate() {
        let cost = report.cost.as_ref().expect("it is counted");
        let all: usize = theirs.iter().map(|layer| layer.instructions[core]).sum();
        let ours = cost.instructions_per_inference as usize;
        let best = if core == 0 { format!(", at best {}", thousands(best)) } else { String::new() };
        let [flash, ram] =
            [cost.inference_flash_bytes, cost.scratch_bytes + cost.stack_bytes].map(|n| thousands(n as usize));
        let share = 100.0 * ours as f64 / all as f64;
        let _ = writeln!(
            text,
            "| {name} | {} | {}{best} | {share:.1} % | {flash} | {ram} |",
            thousands(ours),
            thousands(all)
        );
    }
    text
}

#[test]
#[ignore = "takes minutes; run it with -- --ignored layers::"]
fn the_page_of_layers_is_what_is_measured() {
    CORES.iter().for_each(|(_, machine, _)| prepare(*machine));
    let sections: String = NETWORKS.iter().map(|&(name, title, best)| section(name, title, best)).collect();
    let page = HEAD.to_owned() + sections.trim_end() + "\n";
    let place = workspace_root().expect("a checkout").join(PLACE);
    figures_are(&place, &fs::read_to_string(&place).unwrap_or_default(), page);
}
