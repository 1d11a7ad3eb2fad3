//! The downloader against a local server that does what mirrors do: well, badly, and not at all.

use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tempfile::TempDir;

use super::super::files::{Kind, md5_hex};
use super::super::test_server::{Asked, Server, send, serve};
use super::*;

/// A file that begins as gzip does.
fn content() -> Vec<u8> {
    let mut state = 1u32;
    let noise = std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    [0x1f, 0x8b, 8].into_iter().chain(noise).take(200_000).collect()
}

/// Another file of that name, smaller, as MNIST's are.
fn mnist() -> Vec<u8> {
    content()[..70_000].to_vec()
}

fn file() -> DataFile {
    let md5 = |bytes: &[u8]| -> &'static str { md5_hex(bytes).leak() };
    DataFile {
        name: "data.gz",
        kind: Kind::Images,
        count: 1,
        bytes: 200_000,
        md5: md5(&content()),
        content_md5: "",
        mnist_md5: md5(&mnist()),
    }
}

fn network(mirrors: &[&Server]) -> Network {
    Network {
        mirrors: mirrors.iter().map(|server| server.url()).collect(),
        https_only: false,
        connect: Duration::from_secs(5),
        stall: Duration::from_secs(20),
        slowest: 50_000,
    }
}

/// As [`network`], with little patience.
fn hasty(mirrors: &[&Server]) -> Network {
    Network { connect: Duration::from_millis(500), stall: Duration::from_millis(400), ..network(mirrors) }
}

/// Downloads and expects the right file and nothing beside it.
fn succeeds(directory: &TempDir, mirrors: &[&Server]) {
    fetch_file(directory.path(), &file(), &network(mirrors)).unwrap();
    assert_eq!(fs::read(directory.path().join("data.gz")).unwrap(), content());
    assert_eq!(names(directory), ["data.gz"]);
}

/// Downloads and expects an error of one line that names the mirror; returns it.
fn fails(directory: &TempDir, mirrors: &[&Server]) -> String {
    fails_on(directory, &network(mirrors))
}

fn fails_on(directory: &TempDir, network: &Network) -> String {
    let error = fetch_file(directory.path(), &file(), network).expect_err("the download must fail");
    let line = error.to_string();
    assert_eq!(error.exit_code(), 3, "{line}");
    assert!(!line.contains('\n') && line.contains("--dataset garments") && line.contains("127.0.0.1"), "{line}");
    assert!(!directory.path().join("data.gz").exists(), "nothing unchecked may get the name");
    line
}

fn names(directory: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn good() -> Server {
    Server::new(|asked, stream| serve(&content(), asked, stream))
}

/// Serves the file's beginning under the length of the whole, and hangs up.
fn hangs_up_after(count: usize) -> Server {
    Server::new(move |asked, stream| match asked.from {
        None => send(stream, "200 OK", &["Content-Length: 200000"], &content()[..count]),
        Some(_) => serve(&content(), asked, stream),
    })
}

#[test]
fn a_good_mirror_gives_the_file() {
    let server = good();
    succeeds(&folder(), &[&server]);
    assert_eq!(server.asked(), [Asked { path: "/data.gz".into(), from: None }]);
}

#[test]
fn an_interrupted_download_is_continued() {
    let (server, directory) = (good(), folder());
    fs::write(directory.path().join("data.gz.part"), &content()[..123_456]).unwrap();
    succeeds(&directory, &[&server]);
    assert_eq!(server.asked(), [Asked { path: "/data.gz".into(), from: Some(123_456) }]);
}

#[test]
fn a_broken_transfer_is_continued_at_once() {
    let server = hangs_up_after(60_000);
    succeeds(&folder(), &[&server]);
    assert_eq!(server.asked()[1].from, Some(60_000));
}

#[test]
fn another_mirror_continues_what_one_began() {
    let first = Server::new(|asked, stream| match asked.from {
        None => send(stream, "200 OK", &["Content-Length: 200000"], &content()[..60_000]),
        Some(_) => send(stream, "503 Service Unavailable", &["Content-Length: 0"], b""),
    });
    let second = good();
    succeeds(&folder(), &[&first, &second]);
    assert_eq!(second.asked()[0].from, Some(60_000));
}

#[test]
fn a_complete_part_needs_no_transfer() {
    let (server, directory) = (good(), folder());
    fs::write(directory.path().join("data.gz.part"), content()).unwrap();
    succeeds(&directory, &[&server]);
    assert!(server.asked().is_empty());
}

#[test]
fn a_part_of_something_else_is_thrown_away() {
    for part in [vec![7; 100], vec![7; 200_000], vec![7; 300_000]] {
        let (server, directory) = (good(), folder());
        fs::write(directory.path().join("data.gz.part"), part).unwrap();
        succeeds(&directory, &[&server]);
    }
}

#[test]
fn mirrors_with_something_else_do_not_cost_what_is_kept() {
    let page = Server::new(|_, stream| send(stream, "200 OK", &[], b"<html>Sign in</html>"));
    let smaller = Server::new(|_, stream| send(stream, "200 OK", &["Content-Length: 70000"], &mnist()));
    let larger = Server::new(|_, stream| send(stream, "200 OK", &["Content-Length: 900000"], &content()));
    let (server, directory) = (good(), folder());
    fs::write(directory.path().join("data.gz.part"), &content()[..150_000]).unwrap();
    succeeds(&directory, &[&page, &smaller, &larger, &server]);
    assert_eq!(server.asked()[0].from, Some(150_000));
}

#[test]
fn a_server_without_ranges_begins_again() {
    let server = Server::new(|_, stream| send(stream, "200 OK", &["Content-Length: 200000"], &content()));
    let directory = folder();
    fs::write(directory.path().join("data.gz.part"), &content()[..50_000]).unwrap();
    succeeds(&directory, &[&server]);
}

#[test]
fn a_wrong_range_is_not_appended() {
    let server = Server::new(|asked, stream| match asked.from {
        Some(_) => {
            let headers = ["Content-Range: bytes 0-199999/200000", "Content-Length: 200000"];
            send(stream, "206 Partial Content", &headers, &content())
        }
        None => serve(&content(), asked, stream),
    });
    let directory = folder();
    fs::write(directory.path().join("data.gz.part"), &content()[..50_000]).unwrap();
    succeeds(&directory, &[&server]);
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_file_that_changed_before_it_was_continued_begins_again() {
    let requests = AtomicUsize::new(0);
    let server = Server::new(move |asked, stream| {
        if requests.fetch_add(1, Ordering::Relaxed) == 0 {
            let old: Vec<u8> = content().iter().map(|byte| byte & 0x9f).collect();
            return send(stream, "200 OK", &["Content-Length: 200000"], &old[..60_000]);
        }
        serve(&content(), asked, stream)
    });
    succeeds(&folder(), &[&server]);
    assert_eq!(server.asked().iter().map(|asked| asked.from).collect::<Vec<_>>(), [None, Some(60_000), None]);
}

#[test]
fn a_server_that_answers_everything_in_part_is_given_up() {
    let server = Server::new(|_, stream| {
        send(stream, "206 Partial Content", &["Content-Range: bytes 5-9/10", "Content-Length: 5"], b"12345")
    });
    assert!(fails(&folder(), &[&server]).contains("cannot continue a broken download"));
    assert_eq!(server.asked().len(), ATTEMPTS);
}

#[test]
fn the_second_mirror_helps_when_the_first_has_nothing() {
    let first = Server::new(|_, stream| send(stream, "404 Not Found", &["Content-Length: 2"], b"no"));
    succeeds(&folder(), &[&first, &good()]);
    assert!(fails(&folder(), &[&first]).contains("answered 404 Not Found"));
}

#[test]
fn web_pages_are_called_so() {
    let page = b"<!DOCTYPE html><html><body>Please sign in</body></html>";
    let said = Server::new(|_, stream| send(stream, "200 OK", &["Content-Type: text/html; charset=utf-8"], page));
    let unsaid = Server::new(|_, stream| send(stream, "200 OK", &["Content-Type: application/gzip"], page));
    for server in [&said, &unsaid] {
        let directory = folder();
        assert!(fails(&directory, &[server]).contains("handed out a web page in place of the file"));
        succeeds(&directory, &[server, &good()]);
    }
}

#[test]
fn mnist_is_called_so() {
    let announced = Server::new(|asked, stream| serve(&mnist(), asked, stream));
    let unannounced = Server::new(|_, stream| send(stream, "200 OK", &[], &mnist()));
    for server in [&announced, &unannounced] {
        let directory = folder();
        assert!(fails(&directory, &[server]).contains("handed out MNIST's file"));
        assert!(!directory.path().join("data.gz.part").exists());
        succeeds(&directory, &[server, &good()]);
    }
}

#[test]
fn other_content_is_refused() {
    let same_size = Server::new(|asked, stream| {
        let mut other = content();
        other[100_000] ^= 1;
        serve(&other, asked, stream)
    });
    assert!(fails(&folder(), &[&same_size]).contains("not the published file: its MD5 is "));
    let smaller = Server::new(|asked, stream| serve(&content()[..9_000], asked, stream));
    assert!(fails(&folder(), &[&smaller]).contains("offers 9000 bytes, not 200000"));
    let larger = Server::new(|asked, stream| serve(&content().repeat(2), asked, stream));
    assert!(fails(&folder(), &[&larger]).contains("offers 400000 bytes, not 200000"));
    let no_gzip = Server::new(|asked, stream| serve(&[7; 200_000], asked, stream));
    assert!(fails(&folder(), &[&no_gzip]).contains("not a gzip file"));
    succeeds(&folder(), &[&same_size, &smaller, &larger, &no_gzip, &good()]);
}

#[test]
fn an_endless_body_is_not_followed() {
    let server = Server::new(|_, stream| {
        send(stream, "200 OK", &[], &[0x1f, 0x8b])?;
        loop {
            stream.write_all(&[7; 4096])?;
        }
    });
    let directory = folder();
    assert!(fails(&directory, &[&server]).contains("not the published file"));
    assert!(names(&directory).is_empty());
}

#[test]
fn a_body_that_stalls_is_given_up() {
    let server = Server::new(|_, stream| {
        send(stream, "200 OK", &["Content-Length: 200000"], &content()[..1000])?;
        std::thread::sleep(Duration::from_millis(1500));
        Ok(())
    });
    let (started, directory) = (Instant::now(), folder());
    assert!(fails_on(&directory, &hasty(&[&server])).contains("stalled"));
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    // What did arrive is kept for the next time.
    assert_eq!(fs::read(directory.path().join("data.gz.part")).unwrap(), &content()[..1000]);
    succeeds(&directory, &[&good()]);
}

#[test]
fn silence_and_endless_headers_are_given_up() {
    let silent = Server::new(|_, _| {
        std::thread::sleep(Duration::from_millis(1500));
        Ok(())
    });
    let talkative = Server::new(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            stream.write_all(b"X-More: and more\r\n")?;
        }
    });
    let started = Instant::now();
    assert!(fails_on(&folder(), &hasty(&[&silent])).contains("stalled"));
    let words = fails(&folder(), &[&talkative]);
    assert!(words.contains("header"), "{words}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[test]
fn a_trickle_is_given_up() {
    // 200,000 bytes at 50,000 bytes/s and the patience for a stall make 4.4 s a transfer, whatever arrives meanwhile.
    let server = Server::new(|asked, stream| {
        let from = asked.from.unwrap_or(0);
        if from > 0 {
            return send(stream, "500 Internal Server Error", &["Content-Length: 0"], b"");
        }
        send(stream, "200 OK", &["Content-Length: 200000"], b"")?;
        for byte in content() {
            stream.write_all(&[byte])?;
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    });
    let started = Instant::now();
    fails_on(&folder(), &hasty(&[&server]));
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let server = Server::new(|asked, stream| match asked.path.as_str() {
        "/data.gz" => send(stream, "302 Found", &["Location: /elsewhere", "Content-Length: 0"], b""),
        _ => serve(&content(), asked, stream),
    });
    succeeds(&folder(), &[&server]);
    let circle = Server::new(|_, stream| send(stream, "302 Found", &["Location: /data.gz", "Content-Length: 0"], b""));
    assert!(fails(&folder(), &[&circle]).contains("too many redirects"));
    assert!(circle.asked().len() < 20);
}

#[test]
fn compressed_once_more_is_left_as_it_is() {
    let server = Server::new(|_, stream| {
        let headers = ["Content-Length: 200000", "Content-Encoding: gzip", "Content-Type: application/x-gzip"];
        send(stream, "200 OK", &headers, &content())
    });
    succeeds(&folder(), &[&server]);
}

#[test]
fn every_mirror_is_named_with_its_reason() {
    let missing = Server::new(|_, stream| send(stream, "404 Not Found", &["Content-Length: 0"], b""));
    let page = Server::new(|_, stream| send(stream, "200 OK", &["Content-Type: text/html"], b"<html>"));
    // A port that nobody listens on.
    let closed = format!("http://{}/", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let mut network = network(&[&missing, &page]);
    network.mirrors.push(closed.clone());
    let directory = folder();
    let line = fetch_file(directory.path(), &file(), &network).unwrap_err().to_string();
    for text in
        ["data.gz could not be downloaded from ", "404", "web page", "refused", host(&closed), "FASHION_MNIST_DIR"]
    {
        assert!(line.contains(text), "{text}: {line}");
    }
    assert!(!line.contains('\n') && names(&directory).is_empty(), "{line}");
    // What all of them say is said once.
    network.mirrors = vec![closed.clone(), closed];
    let line = fetch_file(directory.path(), &file(), &network).unwrap_err().to_string();
    assert_eq!(line.matches("refused").count(), 1, "{line}");
}

#[test]
fn plain_http_is_refused_where_https_is_demanded() {
    let server = good();
    let network = Network { https_only: true, ..network(&[&server]) };
    assert!(fetch_file(folder().path(), &file(), &network).is_err());
    assert!(server.asked().is_empty());
}

#[test]
fn official_mirrors_are_several_and_https() {
    let network = Network::official();
    assert!(network.mirrors.len() > 1 && network.https_only);
    assert!(network.mirrors.iter().all(|mirror| mirror.starts_with("https://") && mirror.ends_with('/')));
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    let directory = folder();
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = fetch(&file.join("cache"), &network(&[])).unwrap_err();
    assert_eq!(error.exit_code(), 1, "{error}");
}
