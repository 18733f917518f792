//! Which path means what.

use percent_encoding::percent_decode_str;

use super::page::Page;

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'p> {
    Api(Call<'p>),
    Page(Page),
    /// Takes what a webhook posts.
    Sink,
    Socket(Socket<'p>),
    /// It would lead somewhere with a slash behind it.
    WithoutSlash,
    Nothing,
}

/// What is asked of the accounts. Names are as they stand in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call<'p> {
    /// With a body.
    CreateRoom,
    /// With a body.
    AddEndpoint,
    EarlyCreateRoom(&'p str),
    EarlyAddEndpoint(&'p str, &'p str),
    DeleteRoom(&'p str),
    ListRooms,
    DeleteEndpoint(&'p str, &'p str),
    ListEndpoints(&'p str),
}

/// A WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Socket<'p> {
    /// With this code.
    Endpoint(&'p str),
    /// In this room.
    Chat(&'p str),
    /// Of which there is none.
    Unknown,
}

/// The path without its escapes.
pub(super) fn decoded(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

impl<'p> Route<'p> {
    /// Of a path without escapes.
    pub(super) fn of(path: &'p str) -> Self {
        let path = path.strip_prefix("/main").filter(|rest| rest.starts_with('/')).unwrap_or(path);
        if let Some(rest) = path.strip_prefix("/ws/") {
            return Self::Socket(Socket::of(rest));
        }
        if let Some(asset) = Page::asset(path) {
            return Self::Page(asset);
        }
        match (path.strip_suffix('/'), Self::with_slash(path)) {
            (Some(whole), _) => Self::with_slash(whole),
            (None, Self::Nothing) => Self::Nothing,
            (None, _) => Self::WithoutSlash,
        }
    }

    /// Of a path whose last slash was taken away.
    fn with_slash(path: &'p str) -> Self {
        let steps: Vec<&str> = path.split('/').skip(1).collect();
        if !path.is_empty() && steps.iter().any(|step| step.is_empty()) {
            return Self::Nothing;
        }
        match *steps.as_slice() {
            [] => Self::Page(Page::Start),
            ["webhook"] => Self::Sink,
            ["room" | "room_bad", code] if is_word(code) => Self::Page(Page::Room),
            ["create_room"] => Self::Api(Call::CreateRoom),
            ["add_endpoint"] => Self::Api(Call::AddEndpoint),
            ["list_rooms"] => Self::Api(Call::ListRooms),
            ["create_room", room] => Self::Api(Call::EarlyCreateRoom(room)),
            ["delete_room", room] => Self::Api(Call::DeleteRoom(room)),
            ["list_endpoints", room] => Self::Api(Call::ListEndpoints(room)),
            ["add_endpoint", room, permissions] => Self::Api(Call::EarlyAddEndpoint(room, permissions)),
            ["delete_endpoint", room, code] => Self::Api(Call::DeleteEndpoint(room, code)),
            _ => Self::Nothing,
        }
    }
}

impl<'p> Socket<'p> {
    fn of(path: &'p str) -> Self {
        let named = |kind: &str| path.strip_prefix(kind)?.strip_suffix('/').filter(|name| is_word(name));
        match (named("endpoint/"), named("chat/")) {
            (Some(code), _) => Self::Endpoint(code),
            (None, Some(room)) => Self::Chat(room),
            (None, None) => Self::Unknown,
        }
    }
}

/// One or more letters, digits and underscores: what the original's patterns call a word.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_the_originals_do() {
        for (path, wanted) in [
            ("/", Route::Page(Page::Start)),
            ("/main/", Route::Page(Page::Start)),
            ("/main", Route::Nothing),
            ("/mainly/", Route::Nothing),
            ("/room/abc/", Route::Page(Page::Room)),
            ("/room/a-b/", Route::Nothing),
            ("/room/abc", Route::WithoutSlash),
            ("/static/room.js", Route::Page(Page::Script)),
            ("/main/static/room.css", Route::Page(Page::Style)),
            ("/webhook/", Route::Sink),
            ("/create_room/", Route::Api(Call::CreateRoom)),
            ("/create_room", Route::WithoutSlash),
            ("/create_room/a b/", Route::Api(Call::EarlyCreateRoom("a b"))),
            ("/main/create_room/r", Route::WithoutSlash),
            ("/create_room//", Route::Nothing),
            ("/add_endpoint/r/read/", Route::Api(Call::EarlyAddEndpoint("r", "read"))),
            ("/add_endpoint/r/", Route::Nothing),
            ("/delete_endpoint/r/c/", Route::Api(Call::DeleteEndpoint("r", "c"))),
            ("/list_endpoints/r/", Route::Api(Call::ListEndpoints("r"))),
            ("/list_rooms/", Route::Api(Call::ListRooms)),
            ("/list_rooms/x/", Route::Nothing),
            ("/nothing", Route::Nothing),
            ("//", Route::Nothing),
            ("/ws/endpoint/Ab_1/", Route::Socket(Socket::Endpoint("Ab_1"))),
            ("/ws/endpoint/Ab_1", Route::Socket(Socket::Unknown)),
            ("/ws/endpoint//", Route::Socket(Socket::Unknown)),
            ("/ws/endpoint/a/b/", Route::Socket(Socket::Unknown)),
            ("/ws/chat/lobby/", Route::Socket(Socket::Chat("lobby"))),
            ("/main/ws/chat/lobby/", Route::Socket(Socket::Chat("lobby"))),
        ] {
            assert_eq!(Route::of(path), wanted, "{path}");
        }
    }
}
