//! Every family of kernels on every kind of emulated core, on shapes that no network has: sizes of maps from 1 to 17, channels from 1
//! to 20 and some more, strides, padding of up to two on each side, codes of zero, with and without a map that is added, apart or in
//! place. What the core gives is what the host's portable Rust gives; words behind the results and behind what a layer works in
//! stay as they were. `BN_LENET_LAYERS` is how many layers there are of each kind, 150 without it.

use std::collections::BTreeMap;
use std::time::Duration;

use bn_core::kernels::conv::{self, Conv};
use bn_core::kernels::depthwise::{self, Depthwise};
use bn_core::kernels::depthwise3::{Depthwise3, SHIFT_MULTIPLIER};
use bn_core::kernels::packed::{CODES, HALVES, Input, Maps, Window, half_words, words_of};
use bn_core::kernels::pointwise::Pointwise;
use bn_core::kernels::polyphase3::Polyphase3;
use bn_core::kernels::pool::Pool;
use bn_core::kernels::winograd3::Winograd3;
use bn_core::network::Shape;
use bn_core::plan::{Family, Kernel, TABLE_WORDS};
use chacha20::ChaCha8Rng;
use host_trainer::device::emulate::protocol::{EXIT_OK, LAYER_GUARD, LAYER_GUARDS, LAYER_WORDS};
use host_trainer::device::emulate::{Machine, Run, run};
use host_trainer::device::firmware::{Inputs, Program, build_programs};
use rand::{RngExt, SeedableRng};

use crate::emulator::prepare;

/// One for each path of the kernels.
const MACHINES: [Machine; 5] =
    [Machine::Mps2An386, Machine::Mps2An505, Machine::Mps2An500, Machine::Mps2An385, Machine::Mps2Armv6M];

/// A layer: its kernel, what it reads, and what the host makes of it.
struct Layer {
    kernel: Kernel,
    table: Option<[u8; 4 * TABLE_WORDS]>,
    stream: Vec<u32>,
    /// Where it does not lie in `region`.
    input: Vec<u32>,
    added: Vec<u32>,
    region: Vec<u32>,
    wanted: Vec<u32>,
}

/// The number of a kernel's family.
fn family(kernel: &Kernel) -> Family {
    match kernel {
        Kernel::Winograd3(shape) => {
            if shape.adds {
                Family::Winograd3Add
            } else {
                Family::Winograd3
            }
        }
        Kernel::Pointwise(shape) => {
            if shape.adds {
                Family::PointwiseAdd
            } else {
                Family::Pointwise
            }
        }
        Kernel::Polyphase3(_) => Family::Polyphase3,
        Kernel::Conv(shape) => {
            if shape.adds {
                Family::ConvAdd
            } else {
                Family::Conv
            }
        }
        Kernel::Depthwise3(_) => Family::Depthwise3,
        Kernel::Depthwise(_) => Family::Depthwise,
        Kernel::MeanPool(_) => Family::MeanPool,
        Kernel::MaxPool(_) => Family::MaxPool,
        other => unreachable!("{other:?} has no windows"),
    }
}

impl Layer {
    /// As `layers` reads it.
    fn words(&self) -> Vec<u32> {
        let window = self.kernel.window().expect("a kernel with windows");
        let [channels, adds, halves, table, count_pad] = match self.kernel {
            Kernel::Depthwise(Depthwise { multiplier, halves, table, .. }) => {
                [multiplier, 0, usize::from(halves), usize::from(table), 0]
            }
            Kernel::MeanPool(Pool { count_pad, halves, .. }) | Kernel::MaxPool(Pool { count_pad, halves, .. }) => {
                [0, 0, usize::from(halves), 0, usize::from(count_pad)]
            }
            Kernel::Winograd3(Winograd3 { channels, adds, .. })
            | Kernel::Pointwise(Pointwise { channels, adds, .. }) => [channels, usize::from(adds), 0, 0, 0],
            Kernel::Conv(Conv { channels, adds, halves, table, .. }) => {
                [channels, usize::from(adds), usize::from(halves), usize::from(table), 0]
            }
            Kernel::Polyphase3(Polyphase3 { channels, .. }) => [channels, 0, 0, 0, 0],
            _ => [0; 5],
        };
        let Window { input, kernel, stride, before, output, bytes } = window;
        let head: [usize; LAYER_WORDS] = [
            family(&self.kernel).number().into(),
            input.channels,
            input.height,
            input.width,
            kernel[0],
            kernel[1],
            stride[0],
            stride[1],
            before[0],
            before[1],
            output[0],
            output[1],
            bytes.into(),
            channels,
            adds,
            halves,
            table,
            count_pad,
            self.kernel.words()[0],
            self.table.is_some().into(),
            self.stream.len(),
            self.input.len(),
            self.added.len(),
            self.region.len(),
        ];
        let mut all = head.map(|word| word as u32).to_vec();
        all.extend(self.table.iter().flat_map(|table| bytemuck::pod_collect_to_vec::<u8, u32>(table)));
        [&self.stream, &self.input, &self.added, &self.region].into_iter().for_each(|part| all.extend(part));
        all
    }
}

/// What a layer reads, with zero in the lanes that lack to a whole word.
fn map(rng: &mut ChaCha8Rng, shape: Shape, bytes: bool) -> Vec<u32> {
    if bytes {
        return (0..shape.len().div_ceil(4)).map(|_| rng.random()).collect();
    }
    let mut words: Vec<u32> = (0..words_of(shape)).map(|_| rng.random()).collect();
    let (area, used) = (shape.height * shape.width, shape.channels % 4);
    let last = if used == 0 { words.len() } else { words.len() - area };
    words[last..].iter_mut().for_each(|word| *word &= (1 << (8 * used)) - 1);
    words
}

/// Windows of that kernel and stride over a map that may be smaller than they, with up to so many values around it.
fn window(rng: &mut ChaCha8Rng, kernel: [usize; 2], stride: [usize; 2], most: usize, bytes: bool) -> Option<Window> {
    let channels = if rng.random_ratio(1, 8) { rng.random_range(60..=80) } else { rng.random_range(1..=20) };
    let input = Shape::new(channels, rng.random_range(1..=17), rng.random_range(1..=17));
    let mut window = Window { kernel, stride, ..Window::points(input, bytes) };
    for (side, size) in [input.height, input.width].into_iter().enumerate() {
        let (before, after) = (rng.random_range(0..=most), rng.random_range(0..=most));
        window.before[side] = before;
        window.output[side] = (size + before + after).checked_sub(kernel[side])? / stride[side] + 1;
    }
    Some(window)
}

/// Start value, multiplier, factor of what is added, and the largest weight of a channel.
fn row(rng: &mut ChaCha8Rng, unit: i32, wide: bool, shifts: bool, adds: bool) -> (i32, i32, i32, i16) {
    let most = if wide { 1 << rng.random_range(8..15) } else { 127 };
    let multiplier = if shifts { SHIFT_MULTIPLIER } else { rng.random_range(1..(1 << 22) / unit.min(256)) };
    let adds = if adds { rng.random_range(0..256 * unit) } else { 0 };
    (rng.random_range(-400 * unit..400 * unit), multiplier, adds, most)
}

/// The layers of a kind: of every family that takes a drawn convolution, or of a depthwise layer or pool.
fn kernels(rng: &mut ChaCha8Rng, kind: usize) -> Option<Vec<Kernel>> {
    let (bytes, [stride, other]) = (rng.random_ratio(1, 4), [rng.random_range(1..=2), rng.random_range(1..=2)]);
    let channels = rng.random_range(1..=20);
    let (halves, table) = (rng.random_ratio(1, 6), rng.random_ratio(1, 6));
    let any = [rng.random_range(1..=5), rng.random_range(1..=5)];
    let strides = [rng.random_range(1..=3), rng.random_range(1..=3)];
    let conv = |window: Window, adds: bool, halves: bool, table: bool| {
        let conv = Conv { window, channels, adds, halves: halves && !table, table };
        let others = [
            Winograd3::of(&conv).map(Kernel::Winograd3),
            Polyphase3::of(&conv).map(Kernel::Polyphase3),
            Pointwise::of(&conv).map(Kernel::Pointwise),
        ];
        [Some(Kernel::Conv(conv))].into_iter().chain(others).flatten().collect()
    };
    let adds = rng.random();
    Some(match kind {
        0 => conv(window(rng, [3; 2], [stride; 2], 2, bytes)?, adds, false, false),
        1 => conv(window(rng, [1; 2], [stride, other], 0, bytes)?, adds, false, false),
        2 => {
            let window = window(rng, any, strides, any[0].min(any[1]) - 1, bytes)?;
            conv(window, adds, halves, table)
        }
        3 => {
            let window = window(rng, [3; 2], [stride; 2], 2, false)?;
            let plain = Depthwise { window, multiplier: 1, halves: false, table: false };
            let special = Depthwise3::of(&plain).map(Kernel::Depthwise3);
            [Some(Kernel::Depthwise(plain)), special].into_iter().flatten().collect()
        }
        _ => {
            let window = window(rng, any, strides, any[0].min(any[1]) - 1, bytes)?;
            let pool = Pool { window, count_pad: rng.random(), halves };
            let multiplier = rng.random_range(1..=2);
            let depthwise = Depthwise { window, multiplier, halves: halves && !table, table };
            vec![Kernel::MeanPool(pool), Kernel::MaxPool(pool), Kernel::Depthwise(depthwise)]
        }
    })
}

/// A layer of a kernel with drawn integers and inputs; `None` where its stream could drive a sum out of 32 bits.
fn layer(rng: &mut ChaCha8Rng, kernel: Kernel) -> Option<Layer> {
    let window = kernel.window()?;
    let (halves, has_table) = match kernel {
        Kernel::Conv(Conv { halves, table, .. }) | Kernel::Depthwise(Depthwise { halves, table, .. }) => {
            (halves, table)
        }
        Kernel::MeanPool(Pool { halves, .. }) | Kernel::MaxPool(Pool { halves, .. }) => (halves, false),
        _ => (false, false),
    };
    let adds = matches!(family(&kernel), Family::Winograd3Add | Family::PointwiseAdd | Family::ConvAdd);
    let range = match (halves, has_table) {
        (_, true) => [0, 1023],
        (true, false) => HALVES,
        (false, false) => CODES,
    };
    let mut zeros: Vec<u8> = (0..window.input.channels).map(|_| rng.random()).collect();
    if !window.bytes {
        let zero = zeros[0];
        zeros.fill(zero);
    }
    let (unit, shifts) = (kernel.unit(), rng.random());
    let (mut given, mut stream) = (window.input.channels, Vec::new());
    if let Some((_, channels)) = kernel.convolution() {
        given = channels;
        let wide = matches!(kernel, Kernel::Pointwise(_));
        let fan_in = window.taps() * window.input.channels;
        let rows: Vec<conv::Channel> = (0..channels)
            .map(|_| {
                let (start, multiplier, adds, most) = row(rng, unit, wide, wide && shifts, adds);
                let weights = (0..fan_in).map(|_| rng.random_range(-most..=most)).collect();
                conv::Channel { start, multiplier, adds, weights }
            })
            .collect();
        stream = kernel.convolution_stream(range, &zeros, &rows)?;
    } else if let Kernel::Depthwise(_) | Kernel::Depthwise3(_) = kernel {
        if let Kernel::Depthwise(shape) = kernel {
            given = shape.channels();
        }
        let rows: Vec<depthwise::Channel> = (0..given)
            .map(|_| {
                let (start, multiplier, _, most) = row(rng, 256, true, shifts, false);
                let weights = (0..window.taps()).map(|_| rng.random_range(-most..=most)).collect();
                depthwise::Channel { start, multiplier, weights }
            })
            .collect();
        stream = match kernel {
            Kernel::Depthwise(shape) => shape.stream(range, &zeros, &rows),
            Kernel::Depthwise3(shape) => shape.stream(range, &zeros, &rows),
            _ => unreachable!("a depthwise layer"),
        };
    } else if let Kernel::MeanPool(shape) = kernel {
        stream = vec![range[0] as u32, range[1] as u32, rng.random_range(0..256), rng.random_range(0..256)];
        stream.extend((4..shape.mean_words()).map(|_| rng.random_range(1..1_u32 << 28)));
    }
    kernel.check(&stream).ok()?;
    let table = has_table.then(|| std::array::from_fn(|_| rng.random()));
    let read = map(rng, window.input, window.bytes);
    let results = Shape::new(given, window.output[0], window.output[1]);
    let size = if halves { half_words(results.len()) } else { words_of(results) };
    let mut region = vec![0x5A5A_5A5A; size];
    let added = if adds { map(rng, results, false) } else { Vec::new() };
    let mut layer = Layer { kernel, table, stream, input: read, added, region: Vec::new(), wanted: Vec::new() };
    let may_replace = match kernel {
        Kernel::Pointwise(shape) => shape.in_place(),
        Kernel::Conv(shape) => shape.in_place(),
        Kernel::Depthwise3(shape) => shape.in_place(),
        _ => false,
    };
    if may_replace && rng.random() {
        // The map lies at the region's end, the results at its start; or both at its start.
        region.resize(size.max(layer.input.len()), 0x5A5A_5A5A);
        let at = region.len() - layer.input.len();
        region[at..].copy_from_slice(&layer.input);
        layer.input.clear();
    } else if adds && !halves && rng.random() {
        region.copy_from_slice(&layer.added);
        layer.added.clear();
    }
    let bytes: &[u8] = bytemuck::cast_slice(&layer.input);
    let read = if window.bytes {
        bytes.get(..window.input.len()).map(Input::Bytes)
    } else {
        Some(Input::Packed(&layer.input))
    };
    let mut output = region.clone();
    let maps = Maps {
        input: read.filter(|_| !layer.input.is_empty()),
        added: (!layer.added.is_empty()).then_some(Input::Packed(&layer.added)),
        output: &mut output,
    };
    layer.kernel.run(&layer.stream, layer.table.as_ref(), maps, &mut vec![!0; layer.kernel.words()[0]]);
    Some(Layer { region, wanted: output, ..layer })
}

/// So many layers of each kind.
fn drawn(count: usize) -> Vec<Layer> {
    let mut layers = Vec::new();
    for kind in 0..5 {
        let mut rng = ChaCha8Rng::seed_from_u64(kind as u64);
        for _ in 0..count {
            let made = kernels(&mut rng, kind).unwrap_or_default();
            layers.extend(made.into_iter().filter_map(|kernel| layer(&mut rng, kernel)));
        }
    }
    layers
}

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn every_family_gives_the_hosts_bits_on_any_shape() {
    let count = std::env::var("BN_LENET_LAYERS").map_or(150, |count| count.parse().expect("a number of layers"));
    let layers = drawn(count);
    let mut families = BTreeMap::<&str, usize>::new();
    for layer in &layers {
        *families.entry(family(&layer.kernel).name()).or_default() += 1;
    }
    println!("{families:?}");
    assert_eq!(families.len(), 11, "each family that has windows");
    assert!(families.values().all(|&layers| layers >= count / 6), "{families:?}");
    let words: Vec<u32> = layers.iter().flat_map(Layer::words).collect();
    for machine in MACHINES.into_iter().inspect(|machine| prepare(*machine)) {
        let firmware = build_programs(&Inputs { machine, ..Inputs::default() }, &[Program::Layers]).expect("it builds");
        let elf = firmware.elf(Program::Layers);
        let directory = elf.parent().expect("a directory");
        std::fs::write(directory.join("layers.bin"), bytemuck::cast_slice(&words)).expect("a temporary file");
        let arguments = ["layers.bin", "results.bin"];
        let limit = Duration::from_secs(600);
        let outcome = run(&Run { elf: &elf, machine, arguments: &arguments, directory, limit }).expect("QEMU runs");
        assert_eq!(outcome.code, Some(EXIT_OK), "{machine}: {outcome:?}");
        let results = std::fs::read(directory.join("results.bin")).expect("results");
        let results: Vec<u32> = bytemuck::pod_collect_to_vec(&results);
        let mut rest = &results[..];
        for layer in &layers {
            let (given, behind) = rest.split_at(layer.wanted.len());
            let first = given.iter().zip(&layer.wanted).position(|(given, wanted)| given != wanted);
            assert_eq!(first, None, "{machine}, first word that differs, {:?}", layer.kernel);
            let (guards, behind) = behind.split_at(2 * LAYER_GUARDS);
            assert_eq!(guards, [LAYER_GUARD; 2 * LAYER_GUARDS], "{machine}, words behind its own, {:?}", layer.kernel);
            rest = behind;
        }
        println!("{machine}: {} layers equal", layers.len());
    }
}
