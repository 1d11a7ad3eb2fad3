//! A model that PyTorch trained, through import and evaluation: the same accuracy, the same logits. And a run on the real
//! engine that was stopped in the middle of an epoch.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use host_trainer::data::{Dataset, Split};
use host_trainer::engine::cpu::graph::GraphCpu;
use host_trainer::engine::select::{AVAILABLE, EngineName, create};
use host_trainer::engine::taught::Taught;
use host_trainer::engine::{Engine, Optimizer, initial_parameters};
use host_trainer::evaluate::{Request, evaluate};
use host_trainer::exchange::{ImportOptions, Imported, Source, import};
use host_trainer::model::parameters::{Parameters, Variance};
use host_trainer::model_file::ModelFile;
use host_trainer::network::{Network, text};
use host_trainer::train::checkpoint::{Checkpoint, Origin, TrainingState};
use host_trainer::train::recipe::{BEST, Recipe, Reestimate, SEED};
use host_trainer::train::{self, End, Timing, Watcher};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use tests::{fashion_mnist, golden, golden_parameters};

/// Largest difference of a logit from PyTorch's.
const LOGITS_ATOL: f32 = 1e-4;

#[test]
#[cfg_attr(not(fashion_mnist), ignore = "needs Fashion-MNIST: `cargo trainer data` fetches it")]
fn pytorchs_model_has_pytorchs_accuracy_and_logits() {
    let dataset = fashion_mnist();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/trained.safetensors");
    let Imported { checkpoint, source, .. } = import(&path, &ImportOptions::default()).unwrap();
    assert_eq!((source, checkpoint.parameters.variance), (Source::Torch, Variance::Unbiased));
    let bytes = checkpoint.to_bytes().unwrap();
    let model = ModelFile::Checkpoint(Box::new(Checkpoint::from_bytes(&path, &bytes).unwrap()));
    let request = Request { file: &path, model: &model, checkpoint: None, images: None };
    let evaluated = evaluate(&request, dataset).unwrap();

    assert_eq!(evaluated.report.images, 10_000);
    assert_eq!(evaluated.report.accuracy_f32_unfolded, Some(0.8680));
    assert_eq!(evaluated.report.accuracy_f32_folded, Some(0.8680));
    let int8 = evaluated.report.accuracy_int8.unwrap();
    assert!(int8 >= 0.8670, "integers: {int8}");
    assert!(evaluated.report.disagree_int8.unwrap() <= 0.005);

    let expected = golden("trained_test_logits_f32.bin");
    let expected = expected.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b));
    let logits = evaluated.outputs.values();
    assert_eq!(expected.len(), logits.len());
    let worst = logits.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= LOGITS_ATOL, "a logit differs by {worst}");
}

/// What `load_state_dict(strict=True)` asks of a file: every name that PyTorch's own has, and no other, of its shape and type.
#[test]
fn a_checkpoint_has_the_names_shapes_and_types_of_pytorchs_state_dict() {
    let ours = Checkpoint {
        parameters: Parameters::zero(&Network::lenet(), Variance::Biased),
        batches_tracked: 7,
        origin: Origin::Imported("x".into()),
        moments: None,
    };
    let layout = |bytes: &[u8]| {
        let file = SafeTensors::deserialize(bytes).unwrap();
        let layout = |(name, view): (&str, TensorView<'_>)| (name.to_owned(), (view.dtype(), view.shape().to_vec()));
        file.iter().map(layout).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(layout(&ours.to_bytes().unwrap()), layout(&golden("trained.safetensors")));
}

/// Stops after so many chunks.
struct StopAfter(usize);

impl Watcher for StopAfter {
    fn chunk(&mut self, _: &TrainingState, _: &Timing) -> ControlFlow<()> {
        self.0 = self.0.wrapping_sub(1);
        if self.0 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn epoch(&mut self, _: &dyn Engine, _: &TrainingState, _: &Timing) -> host_trainer::Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }
}

#[test]
fn every_engine_resumes_to_the_same_bits() {
    for recipe in [short(), short_best(), short_momentum()] {
        for network in [Network::lenet(), tiny()] {
            AVAILABLE.into_iter().for_each(|name| assert_resumes_to_the_same_bits(name, &network, &recipe, false));
        }
    }
    for network in [Network::lenet(), tiny()] {
        AVAILABLE.into_iter().for_each(|name| assert_resumes_to_the_same_bits(name, &network, &short_best(), true));
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU; `cuda::` runs it on the CPU build of the kernels"]
fn cuda_resumes_to_the_same_bits() {
    for recipe in [short(), short_best(), short_momentum()] {
        assert_resumes_to_the_same_bits(EngineName::CudaGraph, &Network::lenet(), &recipe, false);
    }
    assert_resumes_to_the_same_bits(EngineName::CudaGraph, &Network::lenet(), &short_best(), true);
    assert_resumes_to_the_same_bits(EngineName::CudaPersistent, &Network::lenet(), &short_best(), true);
    assert_resumes_to_the_same_bits(EngineName::CudaPersistent, &Network::lenet(), &short_momentum(), false);
}

/// A network that LeNet's own engines do not take.
fn tiny() -> Arc<Network> {
    let text = "network tiny\ninput 1x28x28\npreprocess scale 1/255\n\nconv2d 8 3x3 stride 2 pad 1 | batch_norm | relu as a\n\
                depthwise 3x3 pad 1 | batch_norm | hard_swish | conv2d 8 1x1 | add a | max_pool2d 2x2 | flatten | linear 10 | batch_norm";
    Arc::new(text::parse(text).unwrap())
}

fn short() -> Recipe {
    Recipe { name: "short".into(), epochs: 2, batch_size: 16, ..SEED }
}

fn short_momentum() -> Recipe {
    Recipe { name: "short momentum".into(), lr: 0.1, optimizer: Optimizer::Momentum, weight_decay: 0.01, ..short() }
}

/// With everything that a recipe can ask for.
fn short_best() -> Recipe {
    let recipe = Recipe { name: "short best".into(), epochs: 2, batch_size: 16, label_smoothing: 0.1, ..BEST };
    Recipe { average: 2, reestimate: Reestimate::Shown, shift: 2, ..recipe }
}

/// Trains for two epochs of 24 steps, once in one go and once over a checkpoint file written in the middle of the second; an
/// engine that takes a whole epoch at once stops behind the first one's steps, before its evaluation. With a teacher or without.
fn assert_resumes_to_the_same_bits(name: EngineName, network: &Arc<Network>, recipe: &Recipe, with_teacher: bool) {
    let dataset = dataset();
    let untrained = |seed| initial_parameters(network, seed, Variance::Biased);
    let engine = |seed| {
        let student = create(name, &untrained(seed)).unwrap();
        let teacher = GraphCpu::of(&initial_parameters(&tiny(), 7, Variance::Biased), None);
        if !with_teacher {
            return student;
        }
        Box::new(Taught { student, teacher, temperature: 3.0, weight: 0.5 }) as Box<dyn Engine>
    };
    let fresh = || engine(3);
    let begin = |engine: &dyn Engine| train::begin(engine.name(), &dataset, 3, recipe.clone()).unwrap();

    let mut whole = fresh();
    let mut whole_state = begin(&*whole);
    assert_eq!(train::run(&mut *whole, &dataset, &mut whole_state, &mut StopAfter(0)).unwrap(), End::Finished);

    let mut first = fresh();
    let mut state = begin(&*first);
    let (calls, at) = if first.steps_per_call() < 24 { (5, (1, 16)) } else { (1, (0, 24)) };
    assert_eq!(train::run(&mut *first, &dataset, &mut state, &mut StopAfter(calls)).unwrap(), End::Stopped);
    assert_eq!((state.epoch, state.step), at);
    let batches_tracked = (24 * state.epoch + state.step) as u64;
    let saved = Checkpoint {
        parameters: first.parameters(),
        batches_tracked,
        origin: Origin::Trained(Box::new(state)),
        moments: first.moments(),
    };
    let read = Checkpoint::from_bytes(Path::new("memory"), &saved.to_bytes().unwrap()).unwrap();

    let mut second = engine(99);
    second.set_parameters(&read.parameters);
    read.moments.iter().for_each(|moments| second.set_moments(moments));
    let Origin::Trained(mut state) = read.origin else { unreachable!("it was written as a run") };
    assert_eq!(train::run(&mut *second, &dataset, &mut state, &mut StopAfter(0)).unwrap(), End::Finished);
    assert!(second.parameters() == whole.parameters(), "{name:?}, {}", recipe.name);
    assert_eq!(*state, whole_state, "{name:?}");
}

/// 384 patterns of ten classes.
fn dataset() -> Dataset {
    let image =
        |i: usize| std::array::from_fn(|y| std::array::from_fn(|x| ((x * (i % 10 + 1) + y * 7 + i * 31) % 256) as u8));
    let split = |n: usize| Split::of_images((0..n).map(image).collect(), (0..n).map(|i| (i % 10) as u8).collect());
    Dataset {
        name: "patterns".into(),
        source: "this test".into(),
        train: split(384),
        test: split(32),
        classes: vec![],
        rule: None,
    }
}

#[test]
fn both_vocabularies_of_the_chapter_are_imported() {
    for (name, written_by, variance) in [
        ("scratch_after_step20_f64.safetensors", Source::D2l, Variance::Biased),
        ("concise_after_step20_f64.safetensors", Source::Torch, Variance::Unbiased),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
        let Imported { checkpoint, source, .. } = import(&path, &ImportOptions::default()).unwrap();
        assert_eq!(source, written_by);
        let mut expected = golden_parameters(name, variance);
        expected.tensors.iter_mut().flatten().for_each(|v| *v = f64::from(*v as f32));
        assert!(checkpoint.parameters.tensors == expected.tensors, "{name}");
        assert_eq!(checkpoint.parameters.variance, variance);
    }
}
