//! Runs single layers that an emulator's host streams in through semihosting, and writes back what each gives: so every family of
//! kernels meets shapes that no network has. Arguments: the file of layers, the file of results ([`firmware_demo::protocol`]
//! describes both).
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    println!("layers: {}", firmware_demo::HOW_TO_RUN);
}

#[cfg(target_os = "none")]
mod device {
    use bn_core::kernels::conv::Conv;
    use bn_core::kernels::depthwise::Depthwise;
    use bn_core::kernels::depthwise3::Depthwise3;
    use bn_core::kernels::packed::{Input, Maps, Window};
    use bn_core::kernels::pointwise::Pointwise;
    use bn_core::kernels::polyphase3::Polyphase3;
    use bn_core::kernels::pool::Pool;
    use bn_core::kernels::winograd3::Winograd3;
    use bn_core::network::Shape;
    use bn_core::plan::{Family, Kernel, TABLE_WORDS};
    use firmware_demo::protocol::{EXIT_OK, LAYER_GUARD, LAYER_GUARDS, LAYER_WORDS};
    use firmware_demo::{device, files, place};
    use semihosting::fs::File;

    /// Words for all that a layer reads and writes.
    const MEMORY: usize = 1 << 17;

    #[firmware_demo::entry]
    fn main() -> ! {
        static mut MEMORY_OF_A_LAYER: [u32; MEMORY] = [0; MEMORY];
        let (place, counter) = device::start();
        files::require_emulator(place, counter.is_some());
        let (mut from, mut to) = files::open();
        let mut layers = 0_u32;
        while layer(MEMORY_OF_A_LAYER, &mut from, &mut to) {
            layers += 1;
        }
        defmt::info!("{=u32} layers", layers);
        place::exit(EXIT_OK)
    }

    /// Reads a layer, runs it and writes what it gave; false at the end.
    fn layer(memory: &mut [u32; MEMORY], from: &mut File, to: &mut File) -> bool {
        firmware_demo::arch::watchdog::feed();
        let mut head = [[0; 4]; LAYER_WORDS];
        if files::read(from, head.as_flattened_mut(), size_of::<[u32; LAYER_WORDS]>()) == 0 {
            return false;
        }
        let head = head.map(|bytes| u32::from_le_bytes(bytes) as usize);
        let [family, sizes @ .., scratch, table, stream, input, added, region] = head;
        let Some(kernel) = kernel(family, sizes) else { device::fail("no such family") };
        let (table, rest) = take(memory, if table > 0 { TABLE_WORDS } else { 0 }, from);
        let (stream, rest) = take(rest, stream, from);
        let (input, rest) = take(rest, input, from);
        let (added, rest) = take(rest, added, from);
        let (output, rest) = take(rest, region, from);
        let Some((behind, rest)) = rest.split_at_mut_checked(LAYER_GUARDS) else { device::fail(FULL) };
        let Some((scratch, rest)) = rest.split_at_mut_checked(scratch) else { device::fail(FULL) };
        let Some(behind_scratch) = rest.get_mut(..LAYER_GUARDS) else { device::fail(FULL) };
        for words in [&mut *behind, &mut *scratch, &mut *behind_scratch] {
            words.fill(LAYER_GUARD);
        }
        let bytes = kernel.window().is_some_and(|window| window.bytes);
        let read = if bytes {
            let len = kernel.window().map_or(0, |window| window.input.len());
            Input::Bytes(bytemuck::must_cast_slice(input).get(..len).unwrap_or_default())
        } else {
            Input::Packed(input)
        };
        let maps = Maps {
            input: (!input.is_empty()).then_some(read),
            added: (!added.is_empty()).then_some(Input::Packed(added)),
            output,
        };
        kernel.run(
            stream,
            <&[u8; 4 * TABLE_WORDS]>::try_from(bytemuck::must_cast_slice::<u32, u8>(table)).ok(),
            maps,
            scratch,
        );
        files::write_words(to, output);
        files::write_words(to, behind);
        files::write_words(to, behind_scratch);
        true
    }

    const FULL: &str = "a layer takes more memory than there is";

    /// So many words of the memory, read from the file, and what is left.
    fn take<'a>(memory: &'a mut [u32], words: usize, from: &mut File) -> (&'a mut [u32], &'a mut [u32]) {
        let Some((part, rest)) = memory.split_at_mut_checked(words) else { device::fail(FULL) };
        if words > 0 && files::read(from, bytemuck::must_cast_slice_mut(part), 4 * words) != 1 {
            device::fail("a layer ends before its end");
        }
        (part, rest)
    }

    /// The kernel of that family with these sizes.
    fn kernel(family: usize, sizes: [usize; 17]) -> Option<Kernel> {
        let [channels, height, width, sizes @ ..] = sizes;
        let [ky, kx, sy, sx, top, left, rows, columns, bytes, channels_out, adds, halves, has_table, count_pad] = sizes;
        let window = Window {
            input: Shape::new(channels, height, width),
            kernel: [ky, kx],
            stride: [sy, sx],
            before: [top, left],
            output: [rows, columns],
            bytes: bytes > 0,
        };
        let (adds, halves, table) = (adds > 0, halves > 0, has_table > 0);
        Some(match Family::of_number(family as u16)? {
            Family::Winograd3Add | Family::Winograd3 => {
                Kernel::Winograd3(Winograd3 { window, channels: channels_out, adds })
            }
            Family::PointwiseAdd | Family::Pointwise => {
                Kernel::Pointwise(Pointwise { window, channels: channels_out, adds })
            }
            Family::Polyphase3 => Kernel::Polyphase3(Polyphase3 { window, channels: channels_out }),
            Family::ConvAdd | Family::Conv => {
                Kernel::Conv(Conv { window, channels: channels_out, adds, halves, table })
            }
            Family::Depthwise3 => Kernel::Depthwise3(Depthwise3 { window }),
            Family::Depthwise => Kernel::Depthwise(Depthwise { window, multiplier: channels_out, halves, table }),
            Family::MeanPool => Kernel::MeanPool(Pool { window, count_pad: count_pad > 0, halves }),
            Family::MaxPool => Kernel::MaxPool(Pool { window, count_pad: count_pad > 0, halves }),
            _ => return None,
        })
    }
}
