//! State_dicts in every vocabulary, under every name and with every part left away that is read; what is refused.

use std::sync::Arc;

use super::super::{Imported, import};
use super::*;
use crate::network::{shipped, text};
use crate::train::checkpoint::{Checkpoint, Origin};

/// A tensor under test: its place, its module and what it is.
struct Spec<'a> {
    module: &'a str,
    parameter: &'a Parameter,
}

impl Spec<'_> {
    fn torch(&self) -> (String, Vec<usize>) {
        (format!("{}.{}", self.module, self.parameter.role.name()), self.parameter.dims.as_slice().to_vec())
    }

    fn d2l(&self) -> (String, Vec<usize>) {
        let dims = self.parameter.dims.as_slice();
        let name = *names(self.parameter.role).last().unwrap();
        let shape = match (self.parameter.role, dims[0]) {
            (Role::Weight | Role::Bias, _) => dims.to_vec(),
            (_, channels @ (6 | 16)) => vec![1, channels, 1, 1],
            (_, features) => vec![1, features],
        };
        (format!("net.{}.{name}", self.module), shape)
    }
}

/// The half below a number of more than one.
fn f16_near(value: f64) -> u16 {
    let exponent = value.log2().floor();
    (exponent as u16 + 15) << 10 | ((value / exponent.exp2() - 1.0) * 1024.0) as u16
}

/// A `state_dict` whose tensor `i` holds `i + 1, i + 1.1, ...`, under the names and shapes that `rename` makes of ours.
fn write(path: &Path, network: &Network, dtype: Dtype, rename: impl Fn(&Spec<'_>) -> Option<(String, Vec<usize>)>) {
    let mut named = Vec::new();
    for (at, parameter) in network.parameters().iter().enumerate() {
        let value = |i: usize| at as f64 + 1.0 + i as f64 / 10.0;
        let count = parameter.dims.len();
        let bytes: Vec<u8> = match dtype {
            Dtype::F64 => (0..count).flat_map(|i| value(i).to_le_bytes()).collect(),
            Dtype::F16 => (0..count).flat_map(|i| f16_near(value(i)).to_le_bytes()).collect(),
            Dtype::BF16 => {
                (0..count).flat_map(|i| ((value(i) as f32).to_bits() >> 16).to_le_bytes()[..2].to_vec()).collect()
            }
            _ => (0..count).flat_map(|i| (value(i) as f32).to_le_bytes()).collect(),
        };
        let module = network.module(parameter.node);
        named.extend(rename(&Spec { module: &module, parameter }).map(|(name, shape)| (name, shape, bytes)));
    }
    named.reverse();
    let views = named.iter().map(|(name, shape, bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn read_of(network: &Arc<Network>, rename: impl Fn(&Spec<'_>) -> Option<(String, Vec<usize>)>) -> Result<Imported> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state_dict.safetensors");
    write(&path, network, Dtype::F32, rename);
    import(&path, &ImportOptions { network: Some(network.clone()), ..Default::default() })
}

#[test]
fn both_vocabularies_and_widths_give_the_same_model() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state_dict.safetensors");
    let mut models = Vec::new();
    for dtype in [Dtype::F32, Dtype::F64] {
        write(&path, &Network::lenet(), dtype, |s| Some(s.torch()));
        let Imported { checkpoint, source, notes } = import(&path, &ImportOptions::default()).unwrap();
        assert_eq!((source, notes.len()), (Source::Torch, 0));
        assert_eq!(checkpoint.parameters.variance, Variance::Unbiased);
        models.push(checkpoint.parameters.tensors);
        write(&path, &Network::lenet(), dtype, |s| Some(s.d2l()));
        let Imported { checkpoint, source, notes } = import(&path, &ImportOptions::default()).unwrap();
        assert_eq!((source, notes), (Source::D2l, vec!["names begin behind \"net.\"".to_owned()]));
        assert_eq!(checkpoint.parameters.variance, Variance::Biased);
        assert_eq!(checkpoint.origin, Origin::Imported("state_dict.safetensors".into()));
        models.push(checkpoint.parameters.tensors);
    }
    assert!(models.iter().all(|m| *m == models[0]));
    assert_eq!(models[0][2][1], f64::from(3.1f32));
}

#[test]
fn sixteen_bits_are_read_for_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("half.safetensors");
    for (dtype, rounding) in [(Dtype::F16, 2e-3), (Dtype::BF16, 2e-2)] {
        // Values up to 3,073 and a bit: bfloat16 has eight bits of them.
        write(&path, &Network::lenet(), dtype, |s| Some(s.torch()));
        let tensors = import(&path, &ImportOptions::default()).unwrap().checkpoint.parameters.tensors;
        for (at, tensor) in tensors.iter().enumerate() {
            for (i, &value) in tensor.iter().enumerate() {
                let exact = at as f64 + 1.0 + i as f64 / 10.0;
                assert!((value - exact).abs() <= rounding * exact, "{dtype}: {value} for {exact}");
            }
        }
    }
}

#[test]
fn an_imported_model_comes_back_from_its_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    write(&from, &Network::lenet(), Dtype::F64, |s| Some(s.d2l()));
    let options = ImportOptions { eps: Some(1e-3), variance: Some(Variance::Unbiased), ..Default::default() };
    let checkpoint = import(&from, &options).unwrap().checkpoint;
    checkpoint.write(&to).unwrap();
    let back = Checkpoint::read(&to).unwrap();
    assert_eq!(back, checkpoint);
    assert_eq!((back.parameters.network.common_eps(), back.parameters.variance), (Some(1e-3), Variance::Unbiased));
}

#[test]
fn a_common_prefix_is_taken_off_and_said() {
    let lenet = Network::lenet();
    let plain = read_of(&lenet, |s| Some(s.torch())).unwrap().checkpoint.parameters;
    for prefix in ["module.", "_orig_mod.", "model.net._orig_mod.", "net.module."] {
        let Imported { checkpoint, notes, .. } = read_of(&lenet, |s| {
            let (name, shape) = s.torch();
            Some((format!("{prefix}{name}"), shape))
        })
        .unwrap();
        assert_eq!(checkpoint.parameters, plain, "{prefix}");
        assert_eq!(notes, [format!("names begin behind {prefix:?}")]);
    }
}

#[test]
fn named_modules_are_found_by_their_shapes() {
    let lenet = Network::lenet();
    let plain = read_of(&lenet, |s| Some(s.torch())).unwrap().checkpoint.parameters;
    let named = |module: &str| {
        let at = ["0", "1", "4", "5", "9", "10", "12", "13", "15"].iter().position(|m| *m == module).unwrap();
        ["stem", "norm1", "body", "norm2", "fc1", "norm3", "fc2", "norm4", "fc3"][at]
    };
    let Imported { checkpoint, notes, .. } = read_of(&lenet, |s| {
        let (name, shape) = s.torch();
        Some((format!("model.{}.{}", named(s.module), name.rsplit('.').next().unwrap()), shape))
    })
    .unwrap();
    assert_eq!(checkpoint.parameters, plain);
    assert!(notes.contains(&"module fc1 is node 9".to_owned()), "{notes:?}");

    // Two convolutions of one shape: names must tell.
    let text = "input 4x6x6\nconv2d 4 3x3 pad 1 | relu\nconv2d 4 3x3 pad 1 | relu\n";
    let twins = Arc::new(text::parse(text).unwrap());
    let renamed = |s: &Spec<'_>| {
        let (name, shape) = s.torch();
        Some((name.replace("0.", "first.").replace("2.", "second."), shape))
    };
    let refused = read_of(&twins, renamed).unwrap_err().to_string();
    assert!(refused.contains("2 modules of it fit node 0 (conv2d 4 3x3 pad 1): name the nodes with `as`"), "{refused}");
    assert!(refused.contains("it has first: bias [4] weight [4, 4, 3, 3], second:"), "{refused}");
    let told = text.replacen(" | relu", " as first | relu", 1).replacen("pad 1 | relu", "pad 1 as second | relu", 1);
    let told = Arc::new(text::parse(&told).unwrap());
    assert_eq!(told.tensor_names(), ["first.weight", "first.bias", "second.weight", "second.bias"]);
    read_of(&told, |s| Some(s.torch())).unwrap();
}

#[test]
fn what_a_file_may_leave_away_is_filled_in_and_said() {
    let lenet = Network::lenet();
    let biasless = read_of(&lenet, |s| {
        let is_bias = s.parameter.role == Role::Bias && s.module != "15";
        (!is_bias).then(|| s.torch())
    })
    .unwrap();
    assert!(biasless.notes.contains(&"module 0 has no bias; it is zeros".to_owned()), "{:?}", biasless.notes);
    assert!(biasless.checkpoint.parameters.get("0.bias").iter().all(|&b| b == 0.0));
    let plain =
        read_of(&lenet, |s| (!matches!(s.parameter.role, Role::Gamma | Role::Beta)).then(|| s.torch())).unwrap();
    assert!(plain.checkpoint.parameters.get("1.weight").iter().all(|&gamma| gamma == 1.0));
    let folded = read_of(&lenet, |s| matches!(s.parameter.role, Role::Weight | Role::Bias).then(|| s.torch())).unwrap();
    assert!(folded.notes.contains(&"module 5 is a BatchNorm that changes nothing: it was folded away".to_owned()));
    // The chapter's layer keeps its statistics as plain attributes.
    let scratch = |s: &Spec<'_>| (!matches!(s.parameter.role, Role::RunningMean | Role::RunningVar)).then(|| s.d2l());
    let refused = read_of(&lenet, scratch).unwrap_err().to_string();
    assert!(
        refused.contains("it has no tensor net.1.moving_mean: d2l's layer keeps its statistics as plain"),
        "{refused}"
    );
}

#[test]
fn a_sequence_has_convolutions_of_one_dimension() {
    let network = shipped::get("sequence").unwrap();
    let imported = read_of(&network, |s| {
        let (name, mut shape) = s.torch();
        if shape.len() == 4 {
            shape.pop();
        }
        Some((name, shape))
    });
    imported.unwrap();
}

#[test]
fn what_is_not_this_network_is_refused() {
    let lenet = Network::lenet();
    let refused = |rename: &dyn Fn(&Spec<'_>) -> (String, Vec<usize>)| {
        read_of(&lenet, |s| Some(rename(s))).unwrap_err().to_string()
    };
    let flat = refused(&|s| {
        let (name, shape) = s.torch();
        if name == "9.weight" { (name, vec![s.parameter.dims.len()]) } else { (name, shape) }
    });
    assert!(flat.contains("tensor 9.weight has the shape [30720], the network's is [120, 256]"), "{flat}");
    let squeezed = refused(&|s| {
        let (name, shape) = s.torch();
        if name == "0.weight" { (name, vec![6, 5, 5]) } else { (name, shape) }
    });
    assert!(squeezed.contains("tensor 0.weight has the shape [6, 5, 5]"), "{squeezed}");
    let foreign = refused(&|s| {
        let (name, shape) = s.torch();
        if name == "1.bias" { ("1.offset".into(), shape) } else { (name, shape) }
    });
    assert!(foreign.contains("it has no tensor 1.bias; it has 0: bias [6]"), "{foreign}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    std::fs::write(&path, b"\x80\x02}q\x00").unwrap();
    let pickle = import(&path, &ImportOptions::default()).unwrap_err();
    assert!(pickle.to_string().contains("a Python pickle"), "{pickle}");
    assert_eq!(pickle.exit_code(), 2);
}
