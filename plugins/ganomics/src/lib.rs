//! `stock:ganomics`, a transform that plays an exchange economy with tablets: Ganomics, the game of the MoneyServer.
//!
//! The gateway `[ganomics]` publishes what a tablet says, and hands the answers back. `weir serve --ganomics` makes this
//! binding:
//!
//! ```toml
//! topics = ["ganomics/ask", "ganomics/identity", "ganomics/room"]
//! emit = ["ganomics/#"]
//! on_error = "deny"
//!
//! [config]
//! flavour = "seed"             # or "newest": answers without messageId, nothing unasked, tablets poll
//! trial = false                # every demand gets a canned answer
//! skip_survey = true           # after init comes the training
//! skip_training = true         # after init comes the game; skip_survey wins
//! auto_room = true             # the first init without an open room opens one
//! types = 4                    # of players and of goods, 2 to 20
//! players_per_type = 1         # at least 1; 200 players in all
//! t_max = 20                   # periods of the game, 1 to 1,000
//! training_t_max = 40          # and of the training
//! room_idle_s = 86400          # a room in which nobody says anything for so long is closed
//! room_kept_s = 604800         # so long a finished game is remembered
//! rooms = 100                  # finished games that are remembered at most, 1 to 1,000
//! tablet_kept_s = 2592000      # so long the number of a tablet is remembered that says nothing
//! tablets = 1024               # numbers that are remembered at most, 1 to 10,000
//! ```
//!
//! - On `ganomics/ask` a JSON object with `demand`: `init`, `survey`, `training_choice`, `training_done`, `choice`. The
//!   answer goes to the asker's inbox, behind what the others of its room are told (`ganomics/group/ROOM/GROUP`,
//!   `ganomics/user/ID`), and brings it into the groups of its step. A demand that is wrong is refused.
//! - On `ganomics/identity` `{"deviceId","tabletNumber"}`: the device has this tablet's number from now on.
//! - On `ganomics/room` an object with any of `types`, `players_per_type`, `t_max`, `training_t_max` opens a room, if
//!   none is open. `{"close": true}` closes the one that is open. No tablet may publish there.
//!
//! Each type of player makes one good and wants to consume another: in the seed flavour the one before its own, in the
//! newest the one behind. Tablets name goods as their player sees them: 0 is what it makes, 1 what it consumes, then
//! the others in order. A choice is the good that a player wants for the one in its hand. When all have chosen,
//! players who want each other's good are paired by lot and exchange; who gets what it consumes scores, and makes its
//! good again. In the training half of all exchanges succeed. After the last period the room closes, and the
//! next init opens another.
//!
//! All of it stands in `state`: a player who comes back, a router that was killed and another version of the plugin go
//! on where the game stands. Lots are drawn from a seed that the room keeps.
//!
//! A room that is closed before its end, by an operator or since it was idle, is forgotten with its players: what they ask
//! is refused, and the connections of those who came in by `init` end with 1011 (`ganomics/group/ROOM/closed` tells it).
//! An idle room is closed by what opens the next one: an `init` with `auto_room`, or an operator. What has had its time is
//! forgotten by the next demands, a little by each.
//! The largest room takes 1.5 MB. When the state is full all the same, the oldest games and tablets go before their time,
//! and the open room has their place.

mod answer;
mod ask;
mod book;
mod demands;
mod history;
mod kept;
mod lots;
mod market;
mod room;
mod tablet;
mod trial;
mod user;

use answer::Answer;
use ask::Ask;
use book::Book;
use tablet::Number;
use weir_plugin::{ConfigError, Context, Message, Outcome, Plugin, Result, Transform};

/// Most players of a room: what one of them does may be told to all others in one call.
const MOST_PLAYERS: u32 = 200;
const MOST_PERIODS: u32 = 1_000;
/// Most finished games; ten times as many tablets.
const MOST_KEPT: u32 = 1_000;

/// The keys of `[config]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    flavour: Flavour,
    trial: bool,
    skip_survey: bool,
    skip_training: bool,
    auto_room: bool,
    types: u32,
    players_per_type: u32,
    t_max: u32,
    training_t_max: u32,
    room_idle_s: u64,
    room_kept_s: u64,
    rooms: u32,
    tablet_kept_s: u64,
    tablets: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Flavour {
    Seed,
    Newest,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            flavour: Flavour::Seed,
            trial: false,
            skip_survey: true,
            skip_training: true,
            auto_room: true,
            types: 4,
            players_per_type: 1,
            t_max: 20,
            training_t_max: 40,
            room_idle_s: 86_400,
            room_kept_s: 7 * 86_400,
            rooms: 100,
            tablet_kept_s: 30 * 86_400,
            tablets: 1_024,
        }
    }
}

/// The plugin.
#[derive(Debug)]
pub struct Ganomics {
    config: Config,
}

impl Plugin for Ganomics {
    type Config = Config;

    fn new(config: Config, _context: &Context) -> Result<Self, ConfigError> {
        room::check(&config).map_err(|(key, reason)| ConfigError::new(format!("/{key}"), reason))?;
        Ok(Self { config })
    }
}

impl Transform for Ganomics {
    fn apply(&self, message: &Message) -> Result<Outcome> {
        match message.topic() {
            "ganomics/ask" => self.ask(message),
            "ganomics/identity" => self.identity(message),
            "ganomics/room" => self.room(message),
            _ => Ok(Outcome::Unchanged),
        }
    }
}

impl Ganomics {
    fn ask(&self, message: &Message) -> Result<Outcome> {
        let ask = Ask::read(message)?;
        if self.is_newest() && !ask.names_anybody() {
            return Err(ask::refusal("userId", "a demand names its userId or its deviceId").into());
        }
        let mut answer = Answer::new(ask.demand(), self.is_newest());
        kept::restore(ask.at())?;
        if self.config.trial {
            trial::answer(&ask, &mut answer)?;
        } else {
            demands::answer(&self.config, &ask, message, &mut answer)?;
        }
        answer.send(message)
    }

    /// An operator opens a room, or closes it.
    fn room(&self, message: &Message) -> Result<Outcome> {
        let ask = Ask::object(message)?;
        if ask.has("close") {
            return close(&ask);
        }
        let value = |key: &str, default: u32| {
            ask.number(key).map(|given| given.map_or(default, |n| u32::try_from(n).unwrap_or(u32::MAX)))
        };
        let config = Config {
            types: value("types", self.config.types)?,
            players_per_type: value("players_per_type", self.config.players_per_type)?,
            t_max: value("t_max", self.config.t_max)?,
            training_t_max: value("training_t_max", self.config.training_t_max)?,
            ..Config::default()
        };
        room::check(&config).map_err(|(key, reason)| ask::refusal(key, reason))?;
        kept::restore(ask.at())?;
        let idle = Book::tidy(&self.config, ask.at(), true)?;
        if Book::load()?.open()?.is_some() {
            return Err(ask::refusal("", "a room is open: {\"close\": true} closes it").into());
        }
        Book::enter(&config, message)?;
        Ok(idle.map_or(Outcome::Unchanged, |room| Outcome::Add(vec![answer::closing(&room)])))
    }

    /// Binds a device to a tablet's number.
    fn identity(&self, message: &Message) -> Result<Outcome> {
        let ask = Ask::object(message)?;
        let device = ask.device()?;
        let number = ask.wanted("tabletNumber")?;
        kept::restore(ask.at())?;
        tablet::heard(&self.config, &device, Number::This(number), ask.at())?;
        Ok(Outcome::Replace(vec![message.reply("Done!")]))
    }

    fn is_newest(&self) -> bool {
        self.config.flavour == Flavour::Newest
    }
}

/// An operator closes the open room.
fn close(ask: &Ask) -> Result<Outcome> {
    if !ask.is_set("close") {
        return Err(ask::refusal("close", "true is expected").into());
    }
    match Book::close()? {
        Some(room) => Ok(Outcome::Add(vec![answer::closing(&room)])),
        None => Err(ask::refusal("", "no room is open").into()),
    }
}

weir_plugin::export_transform!(Ganomics);

#[cfg(test)]
mod tests;
