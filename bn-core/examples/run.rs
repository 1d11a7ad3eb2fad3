//! Runs a `weights.bin` on a host, step by step, on an input of one value:
//!
//! ```text
//! cargo run -p bn-core --features build --example run -- firmware-demo/assets/weights.bin
//! ```

use std::process::ExitCode;

use bn_core::file::{Arena, WeightsFile};

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("name a weights.bin");
        return ExitCode::from(2);
    };
    let file = match std::fs::read(&path).map_err(|error| error.to_string()) {
        Ok(bytes) => WeightsFile::read(&bytes).map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    let file = match file {
        Ok(file) => file,
        Err(error) => {
            eprintln!("{path}: {error}");
            return ExitCode::from(2);
        }
    };
    let network = file.network();
    let input = vec![128; network.topology.input.len()];
    let output = file.run(&input, &mut Arena::default(), |step, words| {
        println!("{:12} {} words", file.step_name(step), words.len());
    });
    println!("output {output:?}");
    ExitCode::SUCCESS
}
