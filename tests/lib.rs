//! Helpers of the tests in this package: the real data set, the golden files, and
//! what must hold for every input ([`hostile`]).

pub mod hostile;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bn_core::file::WeightsFile;
use bn_core::lenet::TENSORS;
use bn_core::plan::Goal;
use host_trainer::data::{self, Dataset, Inputs, Request, Split};
use host_trainer::device::firmware::shipped_weights;
use host_trainer::engine::init::kaiming_parameters;
use host_trainer::export::{Channels, ExportRequest, export_weights};
use host_trainer::model::parameters::{Parameters, Variance};
use host_trainer::model::weights;
use host_trainer::network::{Network, text};
use safetensors::{Dtype, SafeTensors};

/// Fashion-MNIST, read once from where the program itself would find it, but never downloaded. Tests that take it are ignored where
/// `build.rs` does not find it.
///
/// # Panics
/// If it is not there, or damaged.
pub fn fashion_mnist() -> &'static Dataset {
    static DATASET: OnceLock<Dataset> = OnceLock::new();
    DATASET.get_or_init(|| {
        data::load(&Request { download: false, ..Request::default() }).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// The folder of public networks in ONNX with their inputs and outputs. Tests that take it are ignored where there is none.
///
/// # Panics
/// If `BN_ZOO_DIR` does not name it.
pub fn zoo() -> PathBuf {
    std::env::var_os("BN_ZOO_DIR").expect("set BN_ZOO_DIR to the folder that holds resnet8.onnx and the others").into()
}

/// The shipped model.
///
/// # Panics
/// If it is not there or not sound.
pub fn shipped() -> WeightsFile {
    weights::read(&shipped_weights().expect("a checkout")).expect("shipped weights")
}

/// Bytes of a file of `tests/golden`; its README.md says how each was made.
pub fn golden(name: &str) -> Vec<u8> {
    // At run time too: the binary may have been carried to a machine with a GPU.
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into());
    let path = Path::new(&package).join("golden").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Parameters, statistics or gradients of a golden safetensors file. A tensor that the file lacks stays as before training.
pub fn golden_parameters(name: &str, variance: Variance) -> Parameters {
    let bytes = golden(name);
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let mut parameters = Parameters::zero(&Network::lenet(), variance);
    for (stored_name, view) in file.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")) {
        let values = match view.dtype() {
            Dtype::F64 => view.data().as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            Dtype::F32 => view.data().as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
            other => panic!("{name}: {stored_name} is {other:?}"),
        };
        let tensor: &mut Vec<f64> = parameters.get_mut(&pytorch_name(stored_name));
        assert_eq!(tensor.len(), Vec::len(&values), "{name}: {stored_name}");
        *tensor = values;
    }
    parameters
}

/// The `state_dict` name of a tensor that d2l's own BatchNorm calls gamma, beta, moving_mean or moving_var.
fn pytorch_name(name: &str) -> String {
    let renamed =
        [("gamma", "weight"), ("beta", "bias"), ("moving_mean", "running_mean"), ("moving_var", "running_var")];
    let (module, tensor) = name.split_once('.').expect("module.tensor");
    let tensor = renamed.iter().find(|(d2l, _)| *d2l == tensor).map_or(tensor, |(_, pytorch)| pytorch);
    format!("{module}.{tensor}")
}

/// Whether the tensor is the bias of a layer with a BatchNorm behind it, which takes every shift away again: in theory its
/// gradient is zero, so it can only be compared absolutely.
pub fn is_bias_before_batch_norm(name: &str) -> bool {
    let position = TENSORS.iter().position(|spec| spec.name == name).expect("a tensor of the network");
    let next_role = TENSORS.get(position + 1).map(|next| next.role);
    TENSORS[position].role == bn_core::network::Role::Bias && next_role == Some(bn_core::network::Role::Gamma)
}

/// A network with a layer of every family that takes any shape, with the weights that training begins with: its integers, and noise
/// for it.
///
/// # Panics
/// If no integers can be made of it.
pub fn any_network() -> (WeightsFile, Split) {
    const TEXT: &str = "network any\ninput 3x12x12\npreprocess scale 1/255\n\n\
        conv2d 8 3x3 pad 1 | batch_norm | relu as stem\n\
        depthwise 3x3 pad 1 | batch_norm | relu\n\
        conv2d 8 1x1 | batch_norm | add stem | relu as sum\n\
        conv2d 8 3x3 pad 1 | add sum | relu\n\
        conv2d 7 3x3 pad 1 | hard_swish | max_pool2d 2x2\n\
        depthwise 5x3 pad 2,1,2,1 | relu6\n\
        depthwise 3x3 stride 2 pad 2 | relu6\n\
        conv2d 10 2x2 stride 2 | batch_norm | relu | avg_pool2d 2x2 stride 1 pad 0,0,1,1 exclude_pad\n\
        flatten | linear 9 | relu | linear 4\n";
    let network = Arc::new(text::parse(TEXT).expect("a sound description"));
    let parameters = kaiming_parameters(&network, 7, Variance::Biased);
    let noise = Split { inputs: Inputs::noise(&network, 7), labels: Vec::new() };
    let request = ExportRequest {
        calibration: &noise,
        accuracy_limit: 100.0,
        fine_tuning: None,
        channels: Channels::Live,
        goal: Goal::default(),
    };
    (export_weights(&parameters, &request).expect("integers"), noise)
}
