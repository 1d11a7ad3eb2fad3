//! Sums are exact at the edge of what f32 holds, gradients are the differences that whole steps make, threads never show.

use bn_core::kernels::packed::Window;
use bn_core::kernels::pool::Pool;
use bn_core::network::Shape;
use bn_core::quant::{SIGMOID_LEN, requantize};
use chacha20::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::*;

fn window(input: Shape, kernel: usize, stride: usize, pad: usize) -> Window {
    let output = [input.height, input.width].map(|size| (size + 2 * pad - kernel) / stride + 1);
    Window { input, kernel: [kernel; 2], stride: [stride; 2], before: [pad; 2], output, bytes: false }
}

/// The largest integer of a layer's weights, and whether it is depthwise.
type Kind = (i32, bool);
const NARROW: Kind = (127, false);
const WIDE: Kind = (32_767, false);
const DEPTHWISE: Kind = (32_767, true);

/// A layer of random weights whose results fill so many codes.
fn layer_of(rng: &mut ChaCha8Rng, codes: f64, reads: usize, window: Window, channels: usize, kind: Kind) -> Step {
    let (most, is_depthwise) = kind;
    let fan_in = window.taps() * if is_depthwise { 1 } else { window.input.channels };
    let reach = f64::from(most) * 128.0 * (fan_in as f64).sqrt();
    let row = |_| {
        let weights: Vec<i32> = (0..fan_in).map(|_| rng.random_range(-3 * most / 4..=3 * most / 4)).collect();
        let wanted = weights.iter().map(|&w| w as f32).collect();
        let multiplier = (2.0_f64.powi(32) * codes / reach) as i32;
        let start = (reach * 0.5) as i32 - 128 * weights.iter().sum::<i32>();
        Row { weights, wanted, start, multiplier, adds: 0 }
    };
    let rows = (0..channels).map(row).collect();
    let zeros = vec![128; window.input.channels];
    let shape = Shape::new(channels, window.output[0], window.output[1]);
    let work = Work::Sums(Sums { window, is_depthwise, zeros, other: None, unit: 1, most, rows });
    Step { reads, shape, work, range: [0, 255], table: None }
}

fn layer(rng: &mut ChaCha8Rng, reads: usize, window: Window, channels: usize, kind: Kind) -> Step {
    layer_of(rng, 200.0, reads, window, channels, kind)
}

/// The output's layer: fine, and without a range.
fn last(rng: &mut ChaCha8Rng, reads: usize, input: Shape) -> Step {
    let whole = Window { kernel: [input.height, input.width], ..window(input, 1, 1, 0) };
    let step = layer_of(rng, 20_000.0, reads, Window { output: [1; 2], ..whole }, 3, NARROW);
    Step { range: [i32::MIN, i32::MAX], ..step }
}

fn rows(program: &mut Program, step: usize) -> &mut Vec<Row> {
    let Work::Sums(sums) = &mut program.steps[step].work else { panic!("step {step} has weights") };
    &mut sums.rows
}

/// A first layer, what `middle` says, and a last one.
fn network(seed: u64, middle: impl FnOnce(&mut ChaCha8Rng, Shape) -> Vec<Step>) -> Program {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let input = Shape::new(2, 6, 5);
    let first = layer(&mut rng, 0, window(input, 3, 1, 1), 6, NARROW);
    let mut steps = vec![first];
    steps.extend(middle(&mut rng, Shape::new(6, 6, 5)));
    let shape = steps[steps.len() - 1].shape;
    let output = last(&mut rng, steps.len(), shape);
    steps.push(output);
    Program { input, steps }
}

fn networks() -> Vec<(&'static str, Program)> {
    let pool = |input, count_pad| Pool { window: window(input, 2, 2, 1), count_pad, halves: false };
    let mean = |input: Shape, multipliers| {
        let pool = pool(input, false);
        let shape = Shape::new(input.channels, pool.window.output[0], pool.window.output[1]);
        let work = Work::Mean { pool, zero: 100, shift: 100, multipliers };
        vec![Step { reads: 1, shape, work, range: [0, 255], table: None }]
    };
    let of_values = |n: i32| (1 << 28) / n;
    let table = |i: usize| (254.0 / (1.0 + (-(i as f64 - 512.0) / 80.0).exp())).round() as u8;
    let add = |shape| {
        let work = Work::Add { other: 1, multipliers: [3000, 5000], start: 4096, shift: 13 };
        Step { reads: 2, shape, work, range: [0, 255], table: None }
    };
    let middles = vec![
        ("conv", network(1, |rng, shape| vec![layer(rng, 1, window(shape, 3, 2, 1), 7, NARROW)])),
        ("wide", network(9, |rng, shape| vec![layer(rng, 1, window(shape, 1, 1, 0), 7, WIDE)])),
        ("depthwise", network(2, |rng, shape| vec![layer(rng, 1, window(shape, 3, 1, 1), 12, DEPTHWISE)])),
        ("mean", network(3, |_, shape| mean(shape, (1..=4).map(of_values).collect()))),
        (
            "max",
            network(4, |_, shape| {
                let window = pool(shape, false).window;
                let shape = Shape::new(shape.channels, window.output[0], window.output[1]);
                vec![Step { reads: 1, shape, work: Work::Max(window), range: [0; 2], table: None }]
            }),
        ),
        ("add", network(5, |rng, shape| vec![layer(rng, 1, window(shape, 1, 1, 0), 6, NARROW), add(shape)])),
        (
            "sum behind a convolution",
            network(6, |rng, shape| {
                let mut step = layer(rng, 1, window(shape, 3, 1, 1), 6, NARROW);
                let Work::Sums(sums) = &mut step.work else { panic!("it has weights") };
                sums.other = Some(1);
                sums.rows.iter_mut().for_each(|row| (row.adds, row.start) = (4000, row.start - 128 * 4000));
                vec![step]
            }),
        ),
        (
            "table",
            network(7, |rng, shape| {
                let mut step = layer(rng, 1, window(shape, 3, 1, 0), 5, NARROW);
                let Work::Sums(sums) = &mut step.work else { panic!("it has weights") };
                sums.rows.iter_mut().for_each(|row| row.multiplier *= 4);
                (step.range, step.table) = ([0, SIGMOID_LEN as i32 - 1], Some((0..SIGMOID_LEN).map(table).collect()));
                vec![step]
            }),
        ),
        (
            "flat",
            network(8, |_, shape| {
                let flat = Shape::flat(shape.len());
                vec![Step { reads: 1, shape: flat, work: Work::Flat, range: [0; 2], table: None }]
            }),
        ),
    ];
    middles
}

fn examples(program: &Program, count: usize) -> Vec<Vec<u8>> {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    // Most above zero, so that what a weight changes adds up while roundings do not.
    (0..count).map(|_| (0..program.input.len()).map(|_| rng.random_range(96..=255)).collect()).collect()
}

/// All weights and all codes as large as they can be, in a row longer than f32 sums up.
#[test]
fn the_largest_sums_are_exact() {
    let input = Shape::flat(3 * layer::MOST_PRODUCTS + 5);
    let both = |kind: Kind| [(kind, kind.0, 255), (kind, -kind.0, 254)];
    for ((most, is_depthwise), weight, code) in [NARROW, WIDE, DEPTHWISE].into_iter().flat_map(both) {
        let side = if is_depthwise { 15 } else { 1 };
        let input = if is_depthwise { Shape::new(1, side, side) } else { input };
        let window = Window { output: [1; 2], ..window(input, side, 1, 0) };
        let weights = vec![weight; input.len()];
        let wanted = weights.iter().map(|&w| w as f32).collect();
        let row = Row { weights, wanted, start: 12_345, multiplier: i32::MAX, adds: 0 };
        let zeros = vec![0; input.channels];
        let sums = Sums { window, is_depthwise, zeros, other: None, unit: 7, most, rows: vec![row] };
        let shape = Shape::flat(1);
        let step = Step { reads: 0, shape, work: Work::Sums(sums), range: [i32::MIN, i32::MAX], table: None };
        let program = Program { input, steps: vec![step] };
        let codes = |_: usize| Cow::Owned(vec![code; input.len()]);
        let accumulator = 12_345 + 7 * i64::from(weight) * i64::from(code) * input.len() as i64;
        for mut trainer in IntegerTrainer::each(&program, 1) {
            assert_eq!(trainer.outputs(&codes, &[0]), [requantize(accumulator as i32, i32::MAX)], "{weight}");
            assert_eq!(trainer.program().as_ref(), Some(&program));
        }
    }
}

/// Steps that a weight is moved up and down by: so many that roundings count for little.
const FAR: i32 = 30;

/// By the differences that moving one weight some whole steps makes to a sum of outputs, over many examples. Returns the squared errors'
/// share of the differences' squares, by step.
fn gradient_errors(program: &Program, trainer: &mut IntegerTrainer, inputs: &[Vec<u8>]) -> Vec<f64> {
    let codes = |example: usize| Cow::Borrowed(&inputs[example][..]);
    let all: Vec<u32> = (0..inputs.len() as u32).collect();
    let factors = [1.0_f32, -0.5, 2.0];
    let sum = |program: &Program| {
        let outputs = IntegerTrainer::new(program.clone(), 2).outputs(&codes, &all);
        outputs.iter().enumerate().map(|(i, &v)| f64::from(factors[i % 3]) * f64::from(v)).sum::<f64>()
    };
    // So that the difference from what is wanted is the factor.
    let outputs = trainer.outputs(&codes, &all);
    let wanted: Vec<f32> = outputs.iter().enumerate().map(|(i, &v)| v as f32 - factors[i % 3]).collect();
    let lesson = Lesson { codes: &codes, examples: &all, wanted: &wanted, aim: Aim::Numbers, output: (1.0, 0) };
    let gradient = trainer.0.gradient(&lesson);
    let (mut at, mut errors) = (0, Vec::new());
    for step in 0..program.steps.len() {
        let Work::Sums(sums) = &program.steps[step].work else { continue };
        let (fan_in, count, grain) =
            (sums.rows[0].weights.len(), sums.rows.len(), if sums.most > 127 { 256 } else { 1 });
        let (mut error, mut square) = (0.0, 0.0);
        let mut compare = |moved: &dyn Fn(&mut Row, i32), o: usize, found: f32| {
            let [up, down] = [FAR, -FAR].map(|by| {
                let mut program = program.clone();
                moved(&mut rows(&mut program, step)[o], by * grain);
                sum(&program)
            });
            let difference = (up - down) / f64::from(2 * FAR);
            error += (difference - f64::from(found)).powi(2);
            square += difference * difference;
        };
        for k in (0..fan_in * count).step_by(29) {
            let weight = |row: &mut Row, by: i32| {
                row.weights[k % fan_in] += by;
                row.start -= by * 128;
                row.wanted[k % fan_in] += by as f32;
            };
            compare(&weight, k / fan_in, gradient[at + k]);
        }
        at += fan_in * count;
        // A step of a bias is 127 of the sums.
        (0..count).for_each(|o| compare(&|row, by| row.start += by * 127, o, gradient[at + o]));
        at += count;
        errors.push(error / square);
    }
    assert_eq!(at, gradient.len());
    errors
}

#[test]
fn gradients_are_those_of_whole_steps() {
    let mut all = Vec::new();
    for (name, program) in networks() {
        let inputs = examples(&program, 1000);
        for mut trainer in IntegerTrainer::each(&program, 2) {
            all.push((name, gradient_errors(&program, &mut trainer, &inputs)));
        }
    }
    assert!(all.iter().all(|(_, errors)| errors.iter().all(|&error| error < 0.05)), "{all:?}");
}

#[test]
fn threads_do_not_show() {
    let (_, program) = networks().swap_remove(0);
    let inputs = examples(&program, 100);
    let codes = |example: usize| Cow::Borrowed(&inputs[example][..]);
    let all: Vec<u32> = (0..100).collect();
    let wanted = vec![10.0; 300];
    let lesson = Lesson { codes: &codes, examples: &all, wanted: &wanted, aim: Aim::Numbers, output: (1.0, 0) };
    let trained = |threads| {
        let mut trainer = IntegerTrainer::new(program.clone(), threads);
        let coefficients = Coefficients { rate: 0.7, decay: 0.0, root: 1.0 };
        (0..3).for_each(|_| trainer.step(&lesson, &coefficients));
        trainer.program().unwrap()
    };
    let one = trained(1);
    assert_ne!(one, program);
    assert_eq!(trained(3), one);
}
