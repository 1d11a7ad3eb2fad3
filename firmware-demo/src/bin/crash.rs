//! Panics or faults on purpose, as its argument says: a test checks that the world outside notices.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    println!("crash: {}", firmware_demo::HOW_TO_RUN);
}

#[cfg(target_os = "none")]
#[firmware_demo::entry]
fn main() -> ! {
    use firmware_demo::arch::{fault, stack};
    use firmware_demo::device;
    use firmware_demo::place::Place;

    let (place, _) = device::start();
    if place == Place::Board {
        device::fail("this program is for the emulator");
    }
    let Ok(arguments) = semihosting::experimental::env::args::<128>() else { device::fail("no command line") };
    match (&arguments).nth(1) {
        Some(Ok("panic")) => panic!("on purpose"),
        Some(Ok("fault")) => fault::illegal_instruction(),
        Some(Ok("hang")) => loop {
            core::hint::spin_loop();
        },
        _ => {
            defmt::info!("still alive, {=u32} bytes of stack used", stack::high_water());
            device::fail("say panic, fault or hang")
        }
    }
}
