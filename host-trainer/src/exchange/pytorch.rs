//! PyTorch `state_dict`s in safetensors.
//!
//! Two vocabularies are read: that of `nn.BatchNorm2d/1d` (`1.weight, 1.bias, 1.running_mean, 1.running_var`, and
//! `num_batches_tracked` where it is there) and that of d2l's own layer (`1.gamma, 1.beta, 1.moving_mean, 1.moving_var`, of
//! shape `[1, C, 1, 1]` or `[1, C]`). d2l's classifiers keep the network in `self.net`; a leading `net.` is taken off. A file
//! without any tensor of BatchNorm is a folded network, `nn.Identity()` where BatchNorm stood. PyTorch's names are written.

use std::collections::BTreeSet;
use std::path::Path;

use bn_core::lenet::{Role, TENSORS, TensorSpec};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::{Form, ImportOptions, Imported, Source, batch_norms, pass_through};
use crate::error::Result;
use crate::model::parameters::{Parameters, Variance};
use crate::model::state_dict::{StateDict, UnitDimensions};
use crate::train::checkpoint::{Checkpoint, Origin};

const REMEDY: &str = "save it with safetensors.torch.save_file(model.state_dict(), FILE) from d2l's BatchNorm LeNet";

impl Source {
    fn variance(self) -> Variance {
        if self == Source::D2l { Variance::Biased } else { Variance::Unbiased }
    }

    /// The name of a tensor of ours in this vocabulary.
    fn name(self, spec: &TensorSpec) -> String {
        let module = spec.name.split('.').next().unwrap_or_default();
        match (self, spec.role) {
            (Source::D2l, Role::Gamma) => format!("{module}.gamma"),
            (Source::D2l, Role::Beta) => format!("{module}.beta"),
            (Source::D2l, Role::RunningMean) => format!("{module}.moving_mean"),
            (Source::D2l, Role::RunningVar) => format!("{module}.moving_var"),
            _ => spec.name.to_owned(),
        }
    }
}

/// Reads a `state_dict` of floats of any width in any order; `path` is for messages.
///
/// # Errors
/// [`crate::Error::BadFile`] with the first thing that is wrong.
pub(super) fn read(path: &Path, bytes: &[u8], options: ImportOptions, origin: Origin) -> Result<Imported> {
    let file = StateDict::parse(path, bytes, REMEDY)?;
    let source = vocabulary(&file);
    let prefix = if file.names().iter().any(|n| n.starts_with("net.")) { "net." } else { "" };
    let of_module = |module: &str| file.names().iter().any(|n| n.starts_with(&format!("{prefix}{module}.")));
    let folded = if batch_norms().any(of_module) { Vec::new() } else { batch_norms().collect() };

    let mut parameters = Parameters::zero(options.variance.unwrap_or(source.variance()));
    parameters.eps = options.eps.map_or(parameters.eps, f64::from);
    let mut unknown: BTreeSet<_> = file.names().into_iter().map(str::to_owned).collect();
    for (spec, values) in TENSORS.iter().zip(&mut parameters.tensors) {
        let is_folded = folded.iter().any(|module| spec.name.split('.').next() == Some(module));
        if is_folded {
            continue;
        }
        let name = format!("{prefix}{}", source.name(spec));
        let is_batch_norm = !matches!(spec.role, Role::Weight | Role::Bias);
        let units = if is_batch_norm { UnitDimensions::Ignored } else { UnitDimensions::Count };
        // A checkpoint holds f32: round here, so that what was imported is what is read back.
        *values = file.values(&name, spec, &[Dtype::F32, Dtype::F64, Dtype::F16, Dtype::BF16], units)?;
        values.iter_mut().for_each(|v| *v = f64::from(*v as f32));
        unknown.remove(&name);
    }
    folded.iter().for_each(|module| pass_through(&mut parameters, module));
    let mut batches_tracked = 0;
    for module in batch_norms() {
        let name = format!("{prefix}{module}.num_batches_tracked");
        batches_tracked = batches_tracked.max(file.counter(&name)?.unwrap_or(0));
        unknown.remove(&name);
    }
    if let Some(name) = unknown.first() {
        return Err(file.damaged(format!("it has a tensor {name}, which the network has not")));
    }
    Ok(Imported { checkpoint: Checkpoint { parameters, batches_tracked, origin, moments: None }, source, folded })
}

/// The bytes of a `state_dict` that `load_state_dict(strict=True)` takes; folded, that of a network with `nn.Identity()`
/// where BatchNorm stood.
pub(super) fn to_bytes(parameters: &Parameters, batches_tracked: u64, form: Form) -> Vec<u8> {
    let is_batch_norm = |name: &str| batch_norms().any(|module| name.split('.').next() == Some(module));
    let written = |spec: &TensorSpec| form == Form::Unfolded || !is_batch_norm(spec.name);
    let mut tensors = Vec::new();
    for (spec, values) in TENSORS.iter().zip(&parameters.tensors).filter(|(spec, _)| written(spec)) {
        let data: Vec<u8> = values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect();
        tensors.push((spec.name.to_owned(), Dtype::F32, spec.shape.to_vec(), data));
    }
    if form == Form::Unfolded {
        let counter = |module| format!("{module}.num_batches_tracked");
        tensors.extend(batch_norms().map(|m| (counter(m), Dtype::I64, vec![], batches_tracked.to_le_bytes().into())));
    }
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), data).expect("as many bytes as the shape has"))
    });
    safetensors::serialize(views, None).expect("sound tensors make a sound file")
}

fn vocabulary(file: &StateDict<'_>) -> Source {
    let of_d2l = |name: &&str| [".gamma", ".beta", ".moving_mean", ".moving_var"].iter().any(|s| name.ends_with(s));
    if file.names().iter().any(of_d2l) { Source::D2l } else { Source::Torch }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::super::import;
    use super::*;

    const OPTIONS: ImportOptions = ImportOptions { eps: None, variance: None };

    /// A `state_dict` whose tensor `i` holds `i + 1, i + 1.1, ...`, under the names and shapes that `rename` makes of ours.
    fn write(path: &Path, dtype: Dtype, rename: impl Fn(&TensorSpec) -> (String, Vec<usize>)) {
        let mut named = Vec::new();
        for (at, spec) in TENSORS.iter().enumerate() {
            let value = |i: usize| at as f64 + 1.0 + i as f64 / 10.0;
            let bytes: Vec<u8> = match dtype {
                Dtype::F64 => (0..spec.len()).flat_map(|i| value(i).to_le_bytes()).collect(),
                Dtype::F16 => (0..spec.len()).flat_map(|i| f16::from_f64(value(i)).to_le_bytes()).collect(),
                Dtype::BF16 => (0..spec.len()).flat_map(|i| bf16::from_f64(value(i)).to_le_bytes()).collect(),
                _ => (0..spec.len()).flat_map(|i| (value(i) as f32).to_le_bytes()).collect(),
            };
            let (name, shape) = rename(spec);
            named.push((name, shape, bytes));
        }
        named.reverse();
        let views = named.iter().map(|(n, s, b)| (n.clone(), TensorView::new(dtype, s.clone(), b).unwrap()));
        std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    }

    fn d2l(spec: &TensorSpec) -> (String, Vec<usize>) {
        let name = format!("net.{}", Source::D2l.name(spec));
        let shape = match (spec.role, spec.len()) {
            (Role::Weight | Role::Bias, _) => spec.shape.to_vec(),
            (_, channels @ (6 | 16)) => vec![1, channels, 1, 1],
            (_, features) => vec![1, features],
        };
        (name, shape)
    }

    #[test]
    fn both_vocabularies_and_widths_give_the_same_model() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state_dict.safetensors");
        let mut models = Vec::new();
        for dtype in [Dtype::F32, Dtype::F64] {
            write(&path, dtype, |s| (s.name.into(), s.shape.to_vec()));
            let Imported { checkpoint, source, folded } = import(&path, OPTIONS).unwrap();
            assert_eq!((source, folded.len()), (Source::Torch, 0));
            assert_eq!(checkpoint.parameters.variance, Variance::Unbiased);
            models.push(checkpoint.parameters.tensors);
            write(&path, dtype, d2l);
            let Imported { checkpoint, source, folded } = import(&path, OPTIONS).unwrap();
            assert_eq!((source, folded.len()), (Source::D2l, 0));
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
            write(&path, dtype, |s| (s.name.into(), s.shape.to_vec()));
            let tensors = import(&path, OPTIONS).unwrap().checkpoint.parameters.tensors;
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
        write(&from, Dtype::F64, d2l);
        let options = ImportOptions { eps: Some(1e-3), variance: Some(Variance::Unbiased) };
        let checkpoint = import(&from, options).unwrap().checkpoint;
        checkpoint.write(&to).unwrap();
        let back = Checkpoint::read(&to).unwrap();
        assert_eq!(back, checkpoint);
        assert_eq!((back.parameters.eps as f32, back.parameters.variance), (1e-3, Variance::Unbiased));
    }

    #[test]
    fn what_is_not_this_network_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let refused = |rename: &dyn Fn(&TensorSpec) -> (String, Vec<usize>)| {
            write(&path, Dtype::F32, rename);
            import(&path, OPTIONS).unwrap_err().to_string()
        };
        let mixed = refused(&|s| if s.name == "1.weight" { d2l(s) } else { (s.name.into(), s.shape.to_vec()) });
        assert!(mixed.contains("it has no tensor"), "{mixed}");
        let flat = refused(&|s| (s.name.into(), if s.name == "9.weight" { vec![s.len()] } else { s.shape.to_vec() }));
        assert!(flat.contains("tensor 9.weight has the shape [30720], the network's is [120, 256]"), "{flat}");
        let squeezed = refused(&|s| {
            let unit = s.name == "0.weight";
            (s.name.into(), if unit { vec![6, 5, 5] } else { s.shape.to_vec() })
        });
        assert!(squeezed.contains("tensor 0.weight has the shape [6, 5, 5]"), "{squeezed}");
        std::fs::write(&path, b"\x80\x02}q\x00").unwrap();
        let pickle = import(&path, OPTIONS).unwrap_err();
        assert!(
            pickle.to_string().contains("this is a Python pickle, not a state_dict in safetensors or an ONNX file")
        );
        assert_eq!(pickle.exit_code(), 2);
    }
}
