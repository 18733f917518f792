//! Files below `/static/`. Nothing outside of the folder is served, by whatever name or link.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use percent_encoding::percent_decode_str;

use super::{answer, plain};

/// Read at once.
const CHUNK: usize = 64 * 1024;

/// Answers with a file; `head`: without its bytes.
pub(super) async fn serve(folder: Arc<Path>, name: String, head: bool) -> Response {
    let opened = tokio::task::spawn_blocking(move || open(&folder, &name)).await;
    let Ok(Some((file, path, length))) = opened else { return plain(StatusCode::NOT_FOUND, "Not found") };
    let body = if head { Body::empty() } else { Body::from_stream(chunks(file, length)) };
    let mut response = answer(StatusCode::OK, content_type(&path), body);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// The file of a percent-encoded path; none: there is none, or it is not in the folder.
fn open(folder: &Path, name: &str) -> Option<(File, PathBuf, u64)> {
    let name = percent_decode_str(name).decode_utf8().ok()?;
    if name.contains(['\0', '\\']) {
        return None;
    }
    let relative = Path::new(&*name);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let folder = folder.canonicalize().ok()?;
    let path = folder.join(relative).canonicalize().ok()?;
    // A name with a slash at its end is a folder's.
    if !path.starts_with(&folder) || name.ends_with('/') || !path.metadata().ok()?.is_file() {
        return None;
    }
    let file = File::open(&path).ok()?;
    let length = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
    Some((file, path, length))
}

/// Its first `length` bytes: it may grow meanwhile.
fn chunks(file: File, length: u64) -> impl stream::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(file.take(length), |mut rest| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = Vec::with_capacity(CHUNK);
            rest.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
            Ok((Bytes::from(chunk), rest))
        });
        let (chunk, rest) = read.await.map_err(io::Error::other).flatten()?;
        Ok((!chunk.is_empty()).then_some((chunk, rest)))
    })
}

fn content_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "txt" | "md" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_of_the_folder_is_found() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("static");
        std::fs::create_dir_all(folder.join("js")).unwrap();
        std::fs::write(root.path().join("secret"), "s").unwrap();
        std::fs::write(folder.join("js/a b.js"), "1").unwrap();
        std::fs::write(folder.join("plain"), "22").unwrap();
        std::os::unix::fs::symlink(root.path().join("secret"), folder.join("out")).unwrap();
        std::os::unix::fs::symlink(root.path(), folder.join("up")).unwrap();
        std::os::unix::fs::symlink("plain", folder.join("within")).unwrap();
        for (name, length) in [("plain", 2), ("js/a%20b.js", 1), ("js//a%20b.js", 1), ("within", 2)] {
            assert_eq!(open(&folder, name).map(|(_, _, length)| length), Some(length), "{name}");
        }
        for name in [
            "",
            "js",
            "js/",
            "nothing",
            "plain/",
            "plain/x",
            "../secret",
            "js/../plain",
            "js/%2e%2e/plain",
            "%2e%2e/secret",
            "..%2fsecret",
            "..%5csecret",
            "/etc/passwd",
            "%2fetc/passwd",
            "out",
            "up/secret",
            "plain%00",
            "%ff",
        ] {
            assert!(open(&folder, name).is_none(), "{name}");
        }
        assert_eq!(content_type(Path::new("a/b.JS")), "text/javascript; charset=utf-8");
        assert_eq!(content_type(Path::new("a/b")), "application/octet-stream");
    }
}
