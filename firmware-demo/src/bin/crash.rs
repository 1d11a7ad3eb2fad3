//! Panics, faults or hangs on purpose, as its argument says: a test checks that the world outside notices.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    println!("crash: {}", firmware_demo::HOW_TO_RUN);
}

#[cfg(target_os = "none")]
#[cortex_m_rt::entry]
fn main() -> ! {
    use firmware_demo::arch::{provoke, stack};
    use firmware_demo::{device, place::Place};

    let (place, _) = device::start();
    if place == Place::Board {
        device::fail("this program is for the emulator");
    }
    let Ok(arguments) = semihosting::experimental::env::args::<128>() else { device::fail("no command line") };
    match (&arguments).nth(1) {
        Some(Ok("panic")) => panic!("on purpose"),
        Some(Ok("undefined")) => provoke::undefined_instruction(),
        Some(Ok("nowhere")) => provoke::read_nowhere(),
        Some(Ok("below-stack")) => provoke::read_below_stack(),
        Some(Ok("peripheral")) => provoke::run_peripheral(),
        Some(Ok("arm")) => provoke::leave_thumb(),
        Some(Ok("unaligned")) => provoke::read_unaligned(),
        #[cfg(not(armv6m))]
        Some(Ok("coprocessor")) => provoke::use_coprocessor(),
        Some(Ok("supervisor")) => provoke::call_supervisor(),
        Some(Ok("stack")) => drop(provoke::stack_overflow(0)),
        Some(Ok("hang")) => loop {
            cortex_m::asm::nop();
        },
        _ => defmt::info!("still alive, {=u32} bytes of stack used", stack::high_water()),
    }
    device::fail("say what to do: its source lists the words")
}
