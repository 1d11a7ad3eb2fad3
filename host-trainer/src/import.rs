//! Other programs' models: a PyTorch `state_dict` in safetensors becomes a checkpoint of ours.
//!
//! Two vocabularies are read: that of `nn.BatchNorm2d/1d` (`1.weight, 1.bias, 1.running_mean, 1.running_var`, and
//! `num_batches_tracked` where it is there) and that of d2l's own layer (`1.gamma, 1.beta, 1.moving_mean, 1.moving_var`, of
//! shape `[1, C, 1, 1]` or `[1, C]`). d2l's classifiers keep the network in `self.net`; a leading `net.` is taken off.

use std::collections::BTreeSet;
use std::path::Path;

use bn_core::lenet::{Role, TENSORS, TensorSpec};
use safetensors::Dtype;

use crate::checkpoint::{Checkpoint, Origin};
use crate::error::Result;
use crate::files;
use crate::parameters::{Parameters, Variance};
use crate::state_dict::{StateDict, UnitDimensions, batch_norm_modules};

const REMEDY: &str = "save it with safetensors.torch.save_file(model.state_dict(), FILE) from d2l's BatchNorm LeNet";

/// What the file itself cannot say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImportOptions {
    /// BatchNorm's `eps`; a `state_dict` does not hold it.
    pub eps: f32,
    /// What `running_var` holds; `None` takes what the layer of that vocabulary does: unbiased for `nn.BatchNorm`, biased
    /// for d2l's own.
    pub variance: Option<Variance>,
}

/// Whose BatchNorm wrote the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// `nn.BatchNorm2d` and `nn.BatchNorm1d`.
    Torch,
    /// The chapter's from-scratch layer.
    D2l,
}

impl Vocabulary {
    /// For people.
    pub fn describe(self) -> &'static str {
        match self {
            Vocabulary::Torch => "nn.BatchNorm (weight, bias, running_mean, running_var)",
            Vocabulary::D2l => "d2l's BatchNorm (gamma, beta, moving_mean, moving_var)",
        }
    }

    fn variance(self) -> Variance {
        match self {
            Vocabulary::Torch => Variance::Unbiased,
            Vocabulary::D2l => Variance::Biased,
        }
    }

    /// The name of a tensor of ours in this vocabulary.
    fn name(self, spec: &TensorSpec) -> String {
        let module = spec.name.split('.').next().unwrap_or_default();
        match (self, spec.role) {
            (Vocabulary::D2l, Role::Gamma) => format!("{module}.gamma"),
            (Vocabulary::D2l, Role::Beta) => format!("{module}.beta"),
            (Vocabulary::D2l, Role::RunningMean) => format!("{module}.moving_mean"),
            (Vocabulary::D2l, Role::RunningVar) => format!("{module}.moving_var"),
            _ => spec.name.to_owned(),
        }
    }
}

/// Reads a `state_dict` of f32 or f64 tensors in any order.
///
/// # Errors
/// [`crate::Error::BadFile`] with the first thing that is wrong.
pub fn import(path: &Path, options: ImportOptions) -> Result<(Checkpoint, Vocabulary)> {
    let bytes = files::read(path)?;
    let file = StateDict::parse(path, &bytes, REMEDY)?;
    let vocabulary = vocabulary(&file);
    let prefix = if file.names().iter().any(|n| n.starts_with("net.")) { "net." } else { "" };

    let mut parameters = Parameters::zero(options.variance.unwrap_or(vocabulary.variance()));
    parameters.eps = f64::from(options.eps);
    let mut unknown: BTreeSet<_> = file.names().into_iter().map(str::to_owned).collect();
    for (spec, values) in TENSORS.iter().zip(&mut parameters.tensors) {
        let name = format!("{prefix}{}", vocabulary.name(spec));
        let is_batch_norm = !matches!(spec.role, Role::Weight | Role::Bias);
        let units = if is_batch_norm { UnitDimensions::Ignored } else { UnitDimensions::Count };
        // A checkpoint holds f32: round here, so that what was imported is what is read back.
        *values = file.values(&name, spec, &[Dtype::F32, Dtype::F64], units)?;
        values.iter_mut().for_each(|v| *v = f64::from(*v as f32));
        unknown.remove(&name);
    }
    let mut batches_tracked = 0;
    for module in batch_norm_modules() {
        let name = format!("{prefix}{module}.num_batches_tracked");
        batches_tracked = batches_tracked.max(file.counter(&name)?.unwrap_or(0));
        unknown.remove(&name);
    }
    if let Some(name) = unknown.first() {
        return Err(file.damaged(format!("it has a tensor {name}, which the network has not")));
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok((Checkpoint { parameters, batches_tracked, origin: Origin::Imported(name), moments: None }, vocabulary))
}

fn vocabulary(file: &StateDict<'_>) -> Vocabulary {
    let of_d2l = |name: &&str| [".gamma", ".beta", ".moving_mean", ".moving_var"].iter().any(|s| name.ends_with(s));
    if file.names().iter().any(of_d2l) { Vocabulary::D2l } else { Vocabulary::Torch }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    const OPTIONS: ImportOptions = ImportOptions { eps: 1e-5, variance: None };

    /// A `state_dict` whose tensor `i` holds `i + 1, i + 1.1, ...`, under the names and shapes that `rename` makes of ours.
    fn write(path: &Path, dtype: Dtype, rename: impl Fn(&TensorSpec) -> (String, Vec<usize>)) {
        let mut named = Vec::new();
        for (at, spec) in TENSORS.iter().enumerate() {
            let value = |i: usize| at as f64 + 1.0 + i as f64 / 10.0;
            let bytes: Vec<u8> = match dtype {
                Dtype::F64 => (0..spec.len()).flat_map(|i| value(i).to_le_bytes()).collect(),
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
        let name = format!("net.{}", Vocabulary::D2l.name(spec));
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
            let (checkpoint, vocabulary) = import(&path, OPTIONS).unwrap();
            assert_eq!(vocabulary, Vocabulary::Torch);
            assert_eq!(checkpoint.parameters.variance, Variance::Unbiased);
            models.push(checkpoint.parameters.tensors);
            write(&path, dtype, d2l);
            let (checkpoint, vocabulary) = import(&path, OPTIONS).unwrap();
            assert_eq!(vocabulary, Vocabulary::D2l);
            assert_eq!(checkpoint.parameters.variance, Variance::Biased);
            assert_eq!(checkpoint.origin, Origin::Imported("state_dict.safetensors".into()));
            models.push(checkpoint.parameters.tensors);
        }
        assert!(models.iter().all(|m| *m == models[0]));
        assert_eq!(models[0][2][1], f64::from(3.1f32));
    }

    #[test]
    fn an_imported_model_comes_back_from_its_checkpoint() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        write(&from, Dtype::F64, d2l);
        let options = ImportOptions { eps: 1e-3, variance: Some(Variance::Unbiased) };
        let (checkpoint, _) = import(&from, options).unwrap();
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
        assert!(pickle.to_string().contains("too few for a safetensors file; save it with safetensors.torch"));
        assert_eq!(pickle.exit_code(), 2);
    }
}
