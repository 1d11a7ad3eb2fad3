//! The report of a run: sound HTML that says everything, tells a reader without eyes the same, loads nothing, and fits a
//! phone in a real browser. Trains a moment on drawn garments.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use clap::Parser;
use host_trainer::cli::{Cli, run};
use scraper::{ElementRef, Html, Selector};
use serde_json::Value;
use tempfile::TempDir;

/// Widths of the windows, in CSS pixels: small phones to desktops.
const WIDTHS: [u32; 4] = [320, 390, 768, 1280];

/// A run with its report, and what `report --json` said.
struct Reported {
    /// Vanishes with this value.
    _directory: TempDir,
    path: PathBuf,
    html: String,
    summary: Value,
}

fn program(arguments: &[&str]) -> Value {
    let mut out = Vec::new();
    let cli = Cli::try_parse_from([&["host-trainer"], arguments].concat()).unwrap();
    run(cli, &mut out).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    serde_json::from_slice(&out).unwrap()
}

fn report(directory: TempDir, run: &Path, flags: &[&str]) -> Reported {
    let run = run.to_str().unwrap();
    let summary = program(&[&["report", run, "--dataset", "garments", "--images", "200", "--json"], flags].concat());
    let path = PathBuf::from(summary["report"].as_str().unwrap());
    Reported { html: std::fs::read_to_string(&path).unwrap(), _directory: directory, path, summary }
}

/// Of a trained run, with the emulated device where there can be one.
fn of_a_run() -> &'static Reported {
    static REPORTED: OnceLock<Reported> = OnceLock::new();
    REPORTED.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let run = directory.path().join("run");
        let out = run.to_str().unwrap();
        program(&["train", "--dataset", "garments", "--engine", "cpu", "--epochs", "2", "-q", "--json", "--out", out]);
        let flags: &[&str] = if cfg!(emulators) { &[] } else { &["--host-only"] };
        report(directory, &run, flags)
    })
}

/// Of a comparison with bands.
fn of_a_comparison() -> &'static Reported {
    static REPORTED: OnceLock<Reported> = OnceLock::new();
    REPORTED.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().to_str().unwrap();
        let data = ["--dataset", "garments", "--epochs", "1", "--batch-size", "1000"];
        program(
            &[&["compare", "--network", "lenet,lenet_plain", "--seeds", "2", "-q", "--json", "--out", out], &data[..]]
                .concat(),
        );
        let summary = program(&["report", out, "--json"]);
        let path = PathBuf::from(summary["report"].as_str().unwrap());
        Reported { html: std::fs::read_to_string(&path).unwrap(), _directory: directory, path, summary }
    })
}

fn all<'a>(document: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    document.select(&Selector::parse(selector).unwrap()).collect()
}

fn text(element: ElementRef<'_>) -> String {
    element.text().collect::<Vec<_>>().concat()
}

#[test]
fn the_page_has_every_section_and_the_figures_of_its_run() {
    let Reported { html, summary, .. } = of_a_run();
    let document = Html::parse_document(html);
    assert_eq!(document.errors, [] as [&str; 0]);
    let headings: Vec<_> = all(&document, "h2").into_iter().map(text).collect();
    let wanted = ["Training", "Accuracy at each stage", "Where it errs", "BatchNorm", "The quantiser", "The device"];
    assert_eq!(headings, wanted);
    let body = text(all(&document, "body")[0]);
    for key in ["accuracy_f32_unfolded", "accuracy_f32_folded", "accuracy_int8"] {
        let accuracy = format!("{:.2} %", summary[key].as_f64().unwrap() * 100.0);
        assert!(body.contains(&accuracy), "{key}: {accuracy}");
    }
    match summary["accuracy_int8_device"].as_f64() {
        Some(device) => assert_eq!(Some(device), summary["accuracy_int8"].as_f64()),
        None => assert!(body.contains("The device was not run: it was left out by --host-only")),
    }
    for figure in ["weight signal to noise (dB)", "largest error (LSB)", "fold gain", "dead channels", "range"] {
        assert!(body.contains(figure), "{figure} of each layer");
    }
    assert_eq!(all(&document, ".confusion tbody tr").len(), 10);
    assert_eq!(all(&document, "#batch-norm ~ h3").len(), 4);
    assert!(!all(&document, ".mistakes img").is_empty(), "two epochs leave mistakes");
}

#[test]
fn a_comparison_has_its_curves_and_every_run() {
    let Reported { html, summary, .. } = of_a_comparison();
    assert_eq!((&summary["variants"], &summary["runs"]), (&2.into(), &4.into()));
    let document = Html::parse_document(html);
    assert_eq!(document.errors, [] as [&str; 0]);
    let headings: Vec<_> = all(&document, "h2").into_iter().map(text).collect();
    assert_eq!(headings, ["After the last epoch", "Every run", "Recipe"]);
    assert_eq!(all(&document, "path.band").len(), 4, "two variants in two charts");
    assert_eq!(all(&document, "section[aria-labelledby=runs] tbody tr").len(), 4);
}

#[test]
fn a_reader_without_eyes_is_told_the_same() {
    told_without_eyes(&Html::parse_document(&of_a_run().html));
    told_without_eyes(&Html::parse_document(&of_a_comparison().html));
}

fn told_without_eyes(document: &Html) {
    assert_eq!(all(document, "h1").len(), 1);
    assert_eq!(all(document, "html[lang=en] title").len(), 1);
    let levels = all(document, "h1, h2, h3").into_iter().map(|h| h.value().name().as_bytes()[1] - b'0');
    levels.fold(0, |above, level| {
        assert!(level <= above + 1, "a heading's level is skipped");
        level
    });
    assert_eq!(all(document, "table").len(), all(document, "table > caption:first-child").len());
    assert!(all(document, "thead th").iter().all(|th| th.attr("scope") == Some("col")));
    assert!(all(document, "tbody th").iter().all(|th| th.attr("scope") == Some("row")));
    assert!(all(document, "img").iter().all(|img| img.attr("alt").is_some_and(|alt| !alt.is_empty())));
    for svg in all(document, "svg") {
        let is_described = svg.attr("role") == Some("img") && svg.attr("aria-label").is_some_and(|l| l.len() > 20);
        assert!(is_described || svg.attr("aria-hidden") == Some("true"), "{}", svg.html());
    }
    let ids: Vec<_> = all(document, "[id]").iter().map(|e| e.attr("id").unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    for link in all(document, "nav a") {
        assert!(ids.contains(&link.attr("href").unwrap().trim_start_matches('#')));
    }
}

#[test]
fn the_page_runs_no_script_and_loads_nothing() {
    [of_a_run(), of_a_comparison()].iter().for_each(|reported| loads_nothing(&reported.html));
}

fn loads_nothing(html: &str) {
    let document = Html::parse_document(html);
    assert!(all(&document, "script, iframe, object, embed, link[rel=stylesheet]").is_empty());
    for element in all(&document, "[src], [href]") {
        let target = element.attr("src").or(element.attr("href")).unwrap();
        assert!(target.starts_with("data:") || target.starts_with('#'), "{target}");
    }
    assert!(!html.contains("url(") && !html.contains("@import") && !html.contains("http"));
    assert!(html.len() < 300_000, "{} bytes", html.len());
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let Reported { html, path, .. } = of_a_run();
    let again = path.with_file_name("again.html");
    let run = path.parent().unwrap().to_str().unwrap();
    let flags: &[&str] = if cfg!(emulators) { &[] } else { &["--host-only"] };
    let out = again.to_str().unwrap();
    program(&[&["report", run, "--dataset", "garments", "--images", "200", "--json", "--out", out], flags].concat());
    assert!(std::fs::read_to_string(again).unwrap() == *html);
}

/// The integers of the report are then those of `export --qat`, and every epoch has its row.
#[test]
fn fine_tuning_is_in_the_report() {
    let Reported { path, .. } = of_a_run();
    let run = path.parent().unwrap();
    let (page, weights) = (run.with_file_name("qat.html"), run.with_file_name("qat.bin"));
    let [run, out, file] = [run, &page, &weights].map(|path| path.to_str().unwrap());
    let qat = ["--dataset", "garments", "--qat", "--qat-epochs", "1", "--json"];
    let checkpoint = format!("{run}/checkpoint.safetensors");
    let exported = program(&[&["export", &checkpoint, "--out", file], &qat[..]].concat());
    program(&[&["report", run, "--images", "200", "--host-only", "--out", out], &qat[..]].concat());
    let document = Html::parse_document(&std::fs::read_to_string(out).unwrap());
    assert_eq!(document.errors, [] as [&str; 0]);
    let body = text(all(&document, "body")[0]);
    let checksum = exported["export"]["checksum"].as_u64().unwrap();
    assert!(body.contains(&format!("{checksum:08x}")) && body.contains("after epoch 1"), "{body}");
}

#[test]
fn an_imported_model_has_a_report_without_curves() {
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("imported");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/trained.safetensors");
    let checkpoint = run.join("checkpoint.safetensors");
    program(&["import", golden.to_str().unwrap(), "--out", checkpoint.to_str().unwrap(), "--json"]);
    let Reported { html, summary, .. } = report(directory, &run, &["--host-only"]);
    let body = text(all(&Html::parse_document(&html), "body")[0]);
    assert!(body.contains("imported from trained.safetensors") && body.contains("no curves and no recipe"));
    assert_eq!(summary["accuracy_int8_device"], Value::Null);
    assert!(body.contains("The device was not run: it was left out by --host-only."));
}

/// Each width is a frame around the page, which reports what is wider than it; one window has them all.
#[test]
#[ignore = "needs Chromium; `.ci/run browser` runs it"]
fn nothing_overflows_on_a_phone_or_a_desktop() {
    let answers = |name: &&str| succeeds(Command::new(name).arg("--version"));
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let chromium = names.into_iter().find(answers).expect("Chromium is on the PATH");
    [of_a_run(), of_a_comparison()].iter().for_each(|reported| fits_every_width(chromium, reported));
}

fn fits_every_width(chromium: &str, Reported { path, html, .. }: &Reported) {
    let document = html.replace('&', "&amp;").replace('"', "&quot;");
    let frame = |width: &u32| format!("<iframe width={width} height=800 srcdoc=\"{document}\"></iframe>");
    let frames: String = WIDTHS.iter().map(frame).collect();
    let script = "onload = () => {
        const measure = frame => {
            const page = frame.contentDocument, root = page.documentElement;
            page.querySelectorAll('details').forEach(d => d.open = true);
            const images = [...page.images].filter(i => !i.complete || !i.naturalWidth).length;
            return { width: root.clientWidth, needs: root.scrollWidth, images };
        };
        document.body.innerHTML = JSON.stringify([...document.querySelectorAll('iframe')].map(measure));
    };";
    let page = path.with_file_name("frames.html");
    // Without the default border a frame's inside is as wide as it says.
    let style = "<style>iframe { border: 0 }</style>";
    std::fs::write(&page, format!("<!DOCTYPE html><title>frames</title>{style}<script>{script}</script>{frames}"))
        .unwrap();
    for colours in ["0", "1"] {
        let (dom, log) = browse(chromium, &page, colours);
        let body = text(all(&Html::parse_document(&dom), "body")[0]);
        let frames: Vec<Value> = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body:.200}\n{log}"));
        assert_eq!(frames.len(), WIDTHS.len());
        for (frame, width) in frames.iter().zip(WIDTHS) {
            let inside = frame["width"].as_u64().unwrap();
            // A scroll bar may take its share.
            assert!(inside <= u64::from(width) && inside + 20 >= u64::from(width), "{frame}");
            assert_eq!(frame["needs"], frame["width"], "at {width} pixels the page is wider than the window");
            assert_eq!(frame["images"], 0, "pictures that cannot be shown");
        }
        assert!(!log.contains("CONSOLE"), "{log}");
    }
}

/// The page's elements after its scripts, and the browser's log.
fn browse(chromium: &str, page: &Path, colours: &str) -> (String, String) {
    let output = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--blink-settings=preferredColorScheme={colours}"))
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}
