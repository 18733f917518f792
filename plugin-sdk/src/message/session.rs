use weir_contract::packed::{self, tag};

/// Who is on the other side: one connection, or one HTTP request, of a principal. Nothing in it is the
/// client's own claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session<'a>(&'a [u8]);

impl<'a> Session<'a> {
    pub(crate) fn new(blob: &'a [u8]) -> Self {
        Self(blob)
    }

    /// 1 to 32 bytes of `A-Za-z0-9`: opaque, never reused.
    pub fn id(&self) -> &'a str {
        self.text(tag::SESSION)
    }

    /// The principal's tenant.
    pub fn tenant(&self) -> &'a str {
        self.text(tag::TENANT)
    }

    /// The principal's name: one topic level, 1 to 128 bytes.
    pub fn name(&self) -> &'a str {
        self.text(tag::NAME)
    }

    /// What kind of client it is.
    pub fn origin(&self) -> Origin<'a> {
        Origin(self.text(tag::ORIGIN))
    }

    /// The gateway through which it came: `http`, `mqtt`, …
    pub fn gateway(&self) -> &'a str {
        self.text(tag::GATEWAY)
    }

    /// The id of the account on which it rests.
    pub fn account(&self) -> Option<&'a str> {
        packed::text(self.0, tag::ACCOUNT)
    }

    /// What the auth plugin's grant said about it.
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        packed::value_of(self.0, tag::ATTRIBUTE, name)
    }

    /// The topic that reaches this session and nobody else.
    pub fn inbox(&self) -> String {
        format!("$inbox/{}", self.id())
    }

    fn text(&self, tag: u8) -> &'a str {
        packed::text(self.0, tag).unwrap_or_default()
    }
}

/// What kind of client. An open set: treat one that you do not know as unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a>(&'a str);

impl<'a> Origin<'a> {
    /// `device`, `page`, `sensor`, `service`, or `plugin` for what a ticker sends; more may come.
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// A device: it takes commands.
    pub fn is_device(&self) -> bool {
        self.0 == "device"
    }

    /// A page in a browser.
    pub fn is_page(&self) -> bool {
        self.0 == "page"
    }

    /// A sensor: it mostly sends.
    pub fn is_sensor(&self) -> bool {
        self.0 == "sensor"
    }

    /// A program on a server.
    pub fn is_service(&self) -> bool {
        self.0 == "service"
    }
}

impl std::fmt::Display for Origin<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.0)
    }
}
