//! Classifies the images that were baked in and logs, for each, the label, the classes by falling confidence and what the
//! inference cost. Ends with exit code 0.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    println!("demo: {}", firmware_demo::HOW_TO_RUN);
}

#[cfg(target_os = "none")]
mod device {
    use firmware_demo::arch::stack;
    use firmware_demo::choice::Unit;
    use firmware_demo::classifier::Classifier;
    use firmware_demo::counter::Counter;
    use firmware_demo::model::{Arena, CLASS_NAMES, Prediction, STEP_NAMES};
    use firmware_demo::place::{self, Place};
    use firmware_demo::protocol::{EXIT_OK, UNKNOWN_LABEL};
    use firmware_demo::{device, images};

    #[firmware_demo::entry]
    fn main() -> ! {
        let (place, counter) = device::start();
        let mut classifier = Classifier::new(counter);
        let name = if place == Place::Board { "board" } else { "emulator" };
        defmt::info!("bn-lenet demo on the {=str}, weights {=u32:08x}", name, classifier.model().checksum());
        if classifier.counter().is_none() {
            defmt::warn!("instructions are not counted: start QEMU with -icount shift=6");
        }
        let (mut right, mut labelled) = (0, 0);
        let unit = classifier.counter().map(Counter::unit);
        for (label, image) in images::baked() {
            let label = (label != UNKNOWN_LABEL).then_some(usize::from(label));
            let (prediction, count) = classifier.classify(image);
            report(label, &prediction, count, unit);
            labelled += u32::from(label.is_some());
            right += u32::from(label == Some(prediction.class()));
        }
        if labelled > 0 {
            defmt::info!("{=u32} of {=u32} right", right, labelled);
        }
        if let Some((_, image)) = images::baked().next() {
            // The program's depth first: measuring an inference's paints over it.
            let program = stack::high_water();
            let inference = classifier.stack_bytes(image);
            let scratch = size_of::<Arena>() as u32;
            defmt::info!(
                "memory: scratch {=u32} B, stack {=u32} B (whole program {=u32} B)",
                scratch,
                inference,
                program
            );
            for (name, count) in STEP_NAMES.iter().zip(classifier.classify_by_step(image, |_, _| ()).1) {
                defmt::info!("layer {=str}: {=u32} {=str}", name, count, unit.map_or("counted", Unit::name));
            }
        }
        place::exit(EXIT_OK)
    }

    /// One line: the label and the verdict where it is known, the three likeliest classes in order, the cost.
    fn report(label: Option<usize>, prediction: &Prediction<'_>, count: Option<u32>, unit: Option<Unit>) {
        let ranking = prediction.ranking();
        let likely = |place: usize| Class(ranking.get(place).copied());
        let (count, unit) = (count.unwrap_or(0), unit.map_or("counted", Unit::name));
        let (first, second, third) = (likely(0), likely(1), likely(2));
        match label {
            Some(label) => {
                let verdict = if prediction.class() == label { "right" } else { "WRONG" };
                let label = Class(Some(label));
                defmt::info!(
                    "{}: {=str}; {} > {} > {}; {=u32} {=str}",
                    label,
                    verdict,
                    first,
                    second,
                    third,
                    count,
                    unit
                );
            }
            None => defmt::info!("{} > {} > {}; {=u32} {=str}", first, second, third, count, unit),
        }
    }

    /// A class by its name, or by its number where it has none.
    struct Class(Option<usize>);

    impl defmt::Format for Class {
        fn format(&self, f: defmt::Formatter<'_>) {
            match self.0.map(|class| (class, CLASS_NAMES.get(class))) {
                Some((_, Some(name))) => defmt::write!(f, "{=str}", name),
                Some((class, None)) => defmt::write!(f, "class {=usize}", class),
                None => defmt::write!(f, "no class"),
            }
        }
    }
}
