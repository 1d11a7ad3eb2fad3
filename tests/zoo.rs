//! Public networks in ONNX: the four of MLPerf Tiny and three for digits. Imported, unfolded and folded, exported and run by ONNX
//! Runtime, and as PyTorch's exporters write them, they give the outputs that are stored beside them; so do small networks that
//! tf2onnx and PyTorch wrote.

use std::path::Path;
use std::process::Command;

use bn_core::network::{Conv2d, Op};
use bn_core::plan::Goal;
use host_trainer::data::{Inputs, Split, Values};
use host_trainer::exchange::{Form, Format, GivenPreprocessing, ImportOptions, Imported, import, to_bytes};
use host_trainer::export::{Channels, ExportRequest, export, export_weights};
use host_trainer::model::fold::fold;
use host_trainer::model::inference::{
    Outputs, dequantized, folded_outputs, int8, outputs, reconstruction_error, samples,
};
use host_trainer::model::input::gather;
use host_trainer::model::parameters::Parameters;
use safetensors::{Dtype, SafeTensors};
use tests::zoo;

use crate::onnx_runtime::onnx_runtime;

/// Largest difference from the stored outputs, absolute and of the output.
const TOLERANCE: f64 = 1e-4;
/// The same for examples whose output f32 does not hold better.
const ILL_CONDITIONED: f64 = 1e-2;
/// Largest difference of the autoencoder's mean squared error.
const RECONSTRUCTION: f64 = 1e-3;

/// A network of the folder.
pub(crate) struct Stored {
    pub(crate) name: &'static str,
    /// Divisor, mean and standard deviation of raw values.
    preprocessing: Option<(f32, f32, f32)>,
    /// Examples that are compared with the outputs in f64, as the folder's README says.
    ill_conditioned: &'static [usize],
    has_classes: bool,
}

const fn stored(name: &'static str, preprocessing: Option<(f32, f32, f32)>) -> Stored {
    Stored { name, preprocessing, ill_conditioned: &[], has_classes: true }
}

pub(crate) const STORED: [Stored; 7] = [
    stored("resnet8", None),
    stored("mobilenet_v1_025_vww96", Some((255.0, 0.0, 1.0))),
    stored("ds_cnn", None),
    Stored { ill_conditioned: &[4, 27, 31, 37], has_classes: false, ..stored("autoencoder", None) },
    stored("mnist_valid", Some((255.0, 0.0, 1.0))),
    stored("mnist_dw", Some((255.0, 0.0, 1.0))),
    stored("burn_mnist", Some((255.0, 0.1307, 0.3081))),
];

impl Stored {
    pub(crate) fn import(&self, file: &Path) -> Imported {
        let given = |(divide, mean, std)| GivenPreprocessing {
            scale: Some((1.0, divide)),
            mean: Some(vec![mean]),
            std: Some(vec![std]),
        };
        let preprocessing = self.preprocessing.map_or_else(GivenPreprocessing::default, given);
        import(file, &ImportOptions { preprocessing, ..ImportOptions::default() }).unwrap()
    }

    /// Compares outputs with those that are stored; gives the largest difference as a share of what is allowed.
    fn check(&self, what: &str, data: &Data, outputs: &Outputs) -> f64 {
        let rows = data.logits.chunks_exact(outputs.width()).zip(data.exact.chunks_exact(outputs.width()));
        assert_eq!(rows.len(), outputs.rows().len(), "{what}");
        let mut worst = 0.0_f64;
        for (example, (ours, (near, exact))) in outputs.rows().zip(rows).enumerate() {
            let ill = self.ill_conditioned.contains(&example);
            let near: Vec<f64> = near.iter().map(|&v| f64::from(v)).collect();
            let (wanted, tolerance) = if ill { (exact, ILL_CONDITIONED) } else { (&near[..], TOLERANCE) };
            for (&ours, &wanted) in ours.iter().zip(wanted) {
                let share = (f64::from(ours) - wanted).abs() / (tolerance * (1.0 + wanted.abs()));
                assert!(share <= 1.0, "{what}: example {example} has {ours}, {wanted} is stored");
                worst = worst.max(share);
            }
        }
        let stored = Outputs::new(outputs.width(), data.logits.clone());
        assert!(!self.has_classes || outputs.classes() == stored.classes(), "{what}: other classes");
        worst
    }
}

/// Inputs and outputs of a network.
pub(crate) struct Data {
    pub(crate) inputs: Inputs,
    logits: Vec<f32>,
    exact: Vec<f64>,
}

impl Data {
    pub(crate) fn of(folder: &Path, name: &str, parameters: &Parameters) -> Self {
        let bytes = std::fs::read(folder.join(format!("{name}.data.safetensors"))).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let input = file.tensor("input").unwrap();
        let values = match input.dtype() {
            Dtype::U8 => Values::U8(input.data().to_vec()),
            _ => Values::F32(floats(&file, "input")),
        };
        let exact = file.tensor("logits_f64").unwrap();
        Self {
            inputs: Inputs::new(parameters.network.input(), values),
            logits: floats(&file, "logits"),
            exact: exact.data().as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
        }
    }

    /// The outputs of an example.
    pub(crate) fn outputs(&self, example: usize) -> &[f32] {
        let width = self.logits.len() / self.inputs.len();
        &self.logits[example * width..][..width]
    }

    fn wide(&self, width: usize) -> Outputs {
        Outputs::new(width, self.exact.iter().map(|&v| v as f32).collect())
    }
}

fn floats(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let tensor = file.tensor(name).unwrap();
    tensor.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

/// Squared error of the outputs over their squares, of integers calibrated on the inputs with even index and judged on the odd
/// ones. Beside each the least that ONNX Runtime 1.32's static quantisation has there (QDQ, per channel, MinMax, Entropy and
/// Percentile), and whether ours is at most a half of it.
const QUANTISED: [(&str, f64); 7] = [
    ("resnet8", 3.8e-3),
    ("mobilenet_v1_025_vww96", 1.1e-2),
    ("ds_cnn", 1.7),
    ("autoencoder", 1.7e-3),
    ("mnist_valid", 6.1e-2),
    ("mnist_dw", 7.9e-2),
    ("burn_mnist", 1.2e-1),
];

#[test]
#[cfg_attr(not(zoo), ignore = "needs the public networks: set BN_ZOO_DIR to their folder")]
fn integers_are_nearer_than_onnx_runtimes() {
    let folder = zoo();
    let mut halves = 0;
    for (stored, (name, theirs)) in STORED.iter().zip(QUANTISED) {
        assert_eq!(stored.name, name);
        let parameters = stored.import(&folder.join(format!("{name}.onnx"))).checkpoint.parameters;
        let data = Data::of(&folder, name, &parameters);
        let [even, odd] = [0, 1].map(|first| (first..data.inputs.len()).step_by(2).collect::<Vec<_>>());
        let calibration = Split { inputs: data.inputs.select(&even), labels: Vec::new() };
        let request = ExportRequest {
            calibration: &calibration,
            accuracy_limit: 100.0,
            fine_tuning: None,
            channels: Channels::Live,
            goal: Goal::default(),
        };
        let file = export_weights(&parameters, &request).unwrap();
        let judged = data.inputs.select(&odd);
        let given = dequantized(&file, &int8(&file, &judged));
        let width = given.width();
        let wanted = odd.iter().flat_map(|&at| &data.logits[at * width..(at + 1) * width]).copied();
        let wanted: Vec<f64> = wanted.map(f64::from).collect();
        let error: f64 = given.values().iter().zip(&wanted).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
        let ours = error / wanted.iter().map(|b| b * b).sum::<f64>();
        let others = Outputs::new(width, wanted.iter().map(|&v| v as f32).collect());
        let differ = given.classes().iter().zip(others.classes()).filter(|(a, b)| **a != *b).count();
        println!("{name}: {ours:.2e}, theirs {theirs:.2e}; {differ} of {} argmax differ", odd.len());
        assert!(ours <= theirs, "{name}: {ours:.2e}, ONNX Runtime has {theirs:.2e}");
        halves += usize::from(ours <= theirs / 2.0);
    }
    assert!(halves >= 5, "at most a half on {halves} of 7");
}

#[test]
#[cfg_attr(not(zoo), ignore = "needs the public networks: set BN_ZOO_DIR to their folder")]
fn a_network_without_its_dead_channels_keeps_every_bit() {
    let folder = zoo();
    for stored in &STORED {
        let name = stored.name;
        let parameters = stored.import(&folder.join(format!("{name}.onnx"))).checkpoint.parameters;
        let data = Data::of(&folder, name, &parameters);
        let even: Vec<usize> = (0..data.inputs.len()).step_by(2).collect();
        let calibration = Split { inputs: data.inputs.select(&even), labels: Vec::new() };
        let [whole, reduced] = [Channels::All, Channels::Live].map(|channels| {
            let request = ExportRequest {
                calibration: &calibration,
                accuracy_limit: 100.0,
                fine_tuning: None,
                channels,
                goal: Goal::default(),
            };
            export(&parameters, &request).unwrap()
        });
        // Half of these inputs were not there when the exporter compared both.
        let outputs = [&whole, &reduced].map(|exported| int8(&exported.weights, &data.inputs));
        assert_eq!(outputs[0], outputs[1], "{name}");
        let [kept, found] = [whole, reduced].map(|exported| exported.report.dead_channels.unwrap());
        assert_eq!((kept.macs, kept.macs_with), (found.macs_with, found.macs_with), "{name}");
        let removed: usize = found.layers.iter().map(|layer| layer.removed).sum();
        println!("{name}: {removed} channels removed, {} multiply-accumulates of {}", found.macs, found.macs_with);
        if name == "mobilenet_v1_025_vww96" {
            // Of convolutions that are not depthwise; where those behind them are another value at a border, both stay.
            let is_plain =
                |node: usize| matches!(parameters.network.nodes()[node].op, Op::Conv2d(Conv2d { groups: 1, .. }));
            let plain = found.layers.iter().filter(|layer| is_plain(layer.layer.parse().unwrap()));
            let dead: usize = plain.map(|layer| layer.dead).sum();
            assert_eq!((dead, found.macs_with), (971, 7_489_664));
            assert!((3_700_000..3_770_000).contains(&found.macs), "{}", found.macs);
        }
    }
}

#[test]
#[cfg_attr(not(zoo), ignore = "needs the public networks: set BN_ZOO_DIR to their folder")]
fn imported_networks_give_the_stored_outputs_unfolded_and_folded() {
    let folder = zoo();
    for network in &STORED {
        let file = folder.join(format!("{}.onnx", network.name));
        let parameters = network.import(&file).checkpoint.parameters;
        let data = Data::of(&folder, network.name, &parameters);
        let forms = [outputs(&parameters, &data.inputs), folded_outputs(&fold(&parameters), &data.inputs)];
        for (form, outputs) in ["unfolded", "folded"].into_iter().zip(&forms) {
            let share = network.check(&format!("{}, {form}", network.name), &data, outputs);
            println!("{}, {form}: largest difference {share:.3} of what is allowed", network.name);
            if !network.has_classes {
                let error = |outputs| reconstruction_error(&parameters.network, outputs, &data.inputs);
                let difference = (error(outputs) - error(&data.wide(outputs.width()))).abs();
                println!("{}, {form}: mean squared error differs by {difference:e}", network.name);
                assert!(difference <= RECONSTRUCTION, "{}, {form}: {difference}", network.name);
            }
        }
    }
}

#[test]
#[ignore = "fetches ONNX Runtime; `.ci/run exchange` runs it"]
fn exported_networks_give_the_stored_outputs_in_onnx_runtime() {
    let folder = zoo();
    let python = onnx_runtime();
    let directory = tempfile::tempdir().unwrap();
    for network in &STORED {
        let checkpoint = network.import(&folder.join(format!("{}.onnx", network.name))).checkpoint;
        let data = Data::of(&folder, network.name, &checkpoint.parameters);
        let read = gather(&checkpoint.parameters.network, &data.inputs, samples(0..data.inputs.len()));
        for form in [Form::Unfolded, Form::Folded] {
            let file = directory.path().join(format!("{}.onnx", network.name));
            std::fs::write(&file, to_bytes(&checkpoint, Format::Onnx, form).unwrap()).unwrap();
            let width = checkpoint.parameters.network.output().len();
            let what = format!("{}, {form:?}, ONNX Runtime", network.name);
            let share = network.check(&what, &data, &Outputs::new(width, python.outputs(&read, &file)));
            println!("{what}: largest difference {share:.3} of what is allowed");
            // Our own file is the description again.
            let again = import(&file, &ImportOptions::default()).unwrap().checkpoint.parameters;
            assert!(form == Form::Folded || again == checkpoint.parameters, "{}", network.name);
        }
    }
}

/// `golden/make_exports.py` says what each file is.
#[test]
fn files_of_tf2onnx_and_pytorch_give_the_outputs_of_the_framework() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/exports");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let parameters = import(&file, &ImportOptions::default()).unwrap().checkpoint.parameters;
        let bytes = std::fs::read(file.with_extension("safetensors")).unwrap();
        let stored = SafeTensors::deserialize(&bytes).unwrap();
        let inputs = Inputs::new(parameters.network.input(), Values::F32(floats(&stored, "input")));
        let wanted = floats(&stored, "output");
        for (form, ours) in
            [outputs(&parameters, &inputs), folded_outputs(&fold(&parameters), &inputs)].iter().enumerate()
        {
            assert_eq!(ours.values().len(), wanted.len(), "{}", file.display());
            for (&ours, &wanted) in ours.values().iter().zip(&wanted) {
                let near = f64::from((ours - wanted).abs()) <= TOLERANCE * (1.0 + f64::from(wanted.abs()));
                assert!(near, "{}, form {form}: {ours}, not {wanted}", file.display());
            }
        }
        files += 1;
    }
    assert_eq!(files, 16);
}

/// `zoo_forms.py` says what each file is. `BN_ZOO_FORMS` names networks, else it is all of them; `PEERS_PYTHON` a Python with
/// PyTorch.
#[test]
#[ignore = "exports for half an hour with PyTorch; run it with -- --ignored --nocapture zoo"]
fn other_exporters_forms_give_the_stored_outputs() {
    let folder = zoo();
    let directory = tempfile::tempdir().unwrap();
    let names = std::env::var("BN_ZOO_FORMS").unwrap_or_default();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo_forms.py");
    let mut python = Command::new(std::env::var_os("PEERS_PYTHON").unwrap_or_else(|| "python3".into()));
    let status = python.arg(script).arg(&folder).arg(directory.path()).args(names.split_whitespace()).status().unwrap();
    assert!(status.success(), "PyTorch, onnx and onnxscript are needed: see zoo_forms.py");
    let mut forms = 0;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let file = entry.unwrap().path();
        let form = file.file_stem().unwrap().to_string_lossy().into_owned();
        let network = STORED.iter().find(|network| form.split('.').next() == Some(network.name)).unwrap();
        let parameters = network.import(&file).checkpoint.parameters;
        let data = Data::of(&folder, network.name, &parameters);
        let share = network.check(&form, &data, &outputs(&parameters, &data.inputs));
        println!("{form}: largest difference {share:.3} of what is allowed");
        forms += 1;
    }
    assert!(forms > 0, "no file was made");
}
