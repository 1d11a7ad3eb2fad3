//! What a graph still does with each number of a value before an operation of ours can be named: constants that are added and
//! multiplied, limits, and the hard activations written out. A BatchNorm that an exporter took apart is found here.

use bn_core::batch_norm::DEFAULT_EPS;
use bn_core::network::Activation;

/// A function of each value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Function {
    /// The value itself.
    Plain,
    /// Constants added and multiplied, one after the other.
    Affine(Vec<Step>),
    /// `min(max(slope * x + offset, low), high)`
    Clip(Clip),
    /// `scale * hard_swish(x)`
    HardSwish {
        /// Its factor.
        scale: f64,
    },
}

/// So many constants one after the other are kept; no exporter writes more.
const MOST_STEPS: usize = 16;

/// Numbers by channel, or one for all.
pub(super) type Numbers = Vec<f64>;

/// One constant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Add(Numbers),
    Multiply(Numbers),
    /// Also the variance and the eps whose root it divides by, where the graph shows them.
    Divide(Numbers, Option<(Numbers, f32)>),
}

/// Limits of a linear function. The slope is above zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Clip {
    pub(super) slope: f64,
    pub(super) offset: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// `scale * x + shift`, and where the BatchNorm that it is has its statistics.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BatchNorm {
    pub(super) gamma: Vec<f64>,
    pub(super) beta: Vec<f64>,
    pub(super) mean: Vec<f64>,
    pub(super) variance: Vec<f64>,
    pub(super) eps: f32,
}

/// Whether two numbers are the same but for f32's rounding.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * b.abs().max(1e-3)
}

/// The number of a channel.
pub(super) fn at(numbers: &[f64], channel: usize) -> f64 {
    if numbers.len() == 1 { numbers[0] } else { numbers.get(channel).copied().unwrap_or(f64::NAN) }
}

impl Step {
    /// The one number that it has for all channels.
    fn uniform(&self) -> Option<f64> {
        let (Step::Add(numbers) | Step::Multiply(numbers) | Step::Divide(numbers, _)) = self;
        match numbers[..] {
            [number] => Some(number),
            _ => None,
        }
    }
}

/// The function as one scale and one shift for each channel.
pub(super) fn composed(steps: &[Step], channels: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut scale, mut shift) = (vec![1.0; channels], vec![0.0; channels]);
    for step in steps {
        for channel in 0..channels {
            match step {
                Step::Add(numbers) => shift[channel] += at(numbers, channel),
                Step::Multiply(numbers) => {
                    scale[channel] *= at(numbers, channel);
                    shift[channel] *= at(numbers, channel);
                }
                Step::Divide(numbers, _) => {
                    scale[channel] /= at(numbers, channel);
                    shift[channel] /= at(numbers, channel);
                }
            }
        }
    }
    (scale, shift)
}

/// One slope and one offset for all channels, where the steps have that and show no variance.
fn uniform(steps: &[Step]) -> Option<(f64, f64)> {
    let plain = |step: &Step| step.uniform().is_some() && !matches!(step, Step::Divide(_, Some(_)));
    let all = steps.iter().all(plain);
    let (scale, shift) = composed(if all { steps } else { &[] }, 1);
    (all && scale[0] > 0.0).then_some((scale[0], shift[0]))
}

/// The BatchNorm that the steps are.
pub(super) fn batch_norm(steps: &[Step], channels: usize) -> BatchNorm {
    if let Some(found) = taken_apart(steps, channels) {
        return found;
    }
    let (gamma, beta) = composed(steps, channels);
    // The variance whose sum with eps rounds to 1: the deviation changes nothing.
    let variance = f64::from(1.0 - DEFAULT_EPS);
    BatchNorm { gamma, beta, mean: vec![0.0; channels], variance: vec![variance; channels], eps: DEFAULT_EPS }
}

/// Mean taken off, divided by the deviation, times gamma, plus beta.
fn taken_apart(steps: &[Step], channels: usize) -> Option<BatchNorm> {
    let at_division = steps.iter().position(|step| matches!(step, Step::Divide(..)))?;
    let (before, after) = (&steps[..at_division], &steps[at_division + 1..]);
    if !before.iter().all(|step| matches!(step, Step::Add(_))) {
        return None;
    }
    let Step::Divide(deviation, shown) = &steps[at_division] else { return None };
    let (variance, eps) = match shown {
        Some((variance, eps)) => ((0..channels).map(|c| at(variance, c)).collect(), *eps),
        // Where the deviation was computed when the file was made, only a whole BatchNorm is taken for one.
        None if before.is_empty() || after.is_empty() => return None,
        None => {
            let square = |c| at(deviation, c) * at(deviation, c) - f64::from(DEFAULT_EPS);
            ((0..channels).map(square).collect::<Vec<_>>(), DEFAULT_EPS)
        }
    };
    // A negative deviation has no variance.
    let sound = (0..channels).all(|c| at(deviation, c) > 0.0) && variance.iter().all(|&v| v >= 0.0);
    let mean = composed(before, channels).1.into_iter().map(|shift| -shift).collect();
    let (gamma, beta) = composed(after, channels);
    (sound && eps > 0.0 && eps < 1.0).then_some(BatchNorm { gamma, beta, mean, variance, eps })
}

impl Function {
    /// With one more constant behind it; `None` where the function before must become an operation first.
    pub(super) fn then(&self, step: Step) -> Option<Self> {
        let factor = match &step {
            Step::Add(_) => None,
            Step::Multiply(_) => step.uniform(),
            Step::Divide(..) => step.uniform().map(|number| 1.0 / number),
        };
        match (self, factor.filter(|factor| factor.is_finite() && *factor > 0.0)) {
            (Function::Plain, _) => Some(Function::Affine(vec![step])),
            (Function::Affine(steps), _) if steps.len() < MOST_STEPS => {
                Some(Function::Affine([&steps[..], &[step]].concat()))
            }
            // A limit above that is none stays one: only the written-out hard activations need the factor.
            (Function::Clip(clip), Some(factor)) if clip.high.is_finite() => Some(Function::Clip(clip.scaled(factor))),
            (Function::HardSwish { scale }, Some(factor)) => Some(Function::HardSwish { scale: scale * factor }),
            _ => None,
        }
    }

    /// With limits behind it; `None` where the function before must become an operation first.
    pub(super) fn clipped(&self, low: f64, high: f64) -> Option<Self> {
        let clip = match self {
            Function::Plain => Clip { slope: 1.0, offset: 0.0, low, high },
            Function::Affine(steps) if high.is_finite() => {
                let (slope, offset) = uniform(steps)?;
                Clip { slope, offset, low, high }
            }
            Function::Clip(clip) => {
                Clip { low: clip.low.max(low).min(high), high: clip.high.min(high).max(low), ..*clip }
            }
            Function::Affine(_) | Function::HardSwish { .. } => return None,
        };
        Some(Function::Clip(clip))
    }
}

impl Clip {
    fn scaled(self, factor: f64) -> Self {
        let Self { slope, offset, low, high } = self;
        Self { slope: slope * factor, offset: offset * factor, low: low * factor, high: high * factor }
    }

    /// `x` times this, where that is a hard swish: its factor.
    pub(super) fn hard_swish(self) -> Option<f64> {
        let Self { slope, offset, low, high } = self;
        let sound = low == 0.0 && high > 0.0 && near(slope / high, 1.0 / 6.0) && near(offset / high, 0.5);
        sound.then_some(high)
    }

    /// What it is made of: constants in front, the activation, constants behind; `None` where it is none of ours.
    pub(super) fn parts(self) -> Option<(Vec<Step>, Option<Activation>, Vec<Step>)> {
        let Self { slope, offset, low, high } = self;
        let affine = |slope: f64, offset: f64| {
            let factor = (!near(slope, 1.0)).then_some(Step::Multiply(vec![slope]));
            let shift = (offset != 0.0).then_some(Step::Add(vec![offset]));
            factor.into_iter().chain(shift).collect::<Vec<_>>()
        };
        if low == 0.0 && near(high, 1.0) && near(offset, 0.5) {
            return Some((vec![], Some(Activation::HardSigmoid { slope: slope as f32 }), vec![]));
        }
        if low == f64::NEG_INFINITY && high == f64::INFINITY {
            return Some((affine(slope, offset), None, vec![]));
        }
        if low != 0.0 || high <= 0.0 {
            return None;
        }
        if high == f64::INFINITY {
            return Some((affine(slope, offset), Some(Activation::Relu), vec![]));
        }
        let factor = if near(high, 6.0) { 1.0 } else { 6.0 / high };
        Some((affine(slope * factor, offset * factor), Some(Activation::Relu6), affine(1.0 / factor, 0.0)))
    }
}
