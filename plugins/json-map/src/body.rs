use crate::config::{Config, Split};
use crate::template::Surroundings;
use weir_plugin::Refusal;
use weir_plugin::serde_json::Value;

/// The bodies that a body becomes: itself, or the elements of one of its arrays.
pub(crate) fn split(split: Option<&Split>, mut body: Value) -> Result<Vec<Value>, Refusal> {
    let Some(Split { path, keep }) = split else { return Ok(vec![body]) };
    let Some(Value::Array(mut elements)) = path.get_mut(&mut body).map(Value::take) else {
        return Err(Refusal::new("must be an array to be split").at(path));
    };
    for (index, element) in elements.iter_mut().enumerate() {
        for pointer in keep {
            let Some(kept) = pointer.get(&body) else { continue };
            pointer.set(element, kept.clone()).map_err(|refusal| refusal.at(format!("{path}/{index}")))?;
        }
    }
    Ok(elements)
}

/// The steps that change one body, in their order.
pub(crate) fn change(config: &Config, body: &mut Value, around: &Surroundings<'_>) -> Result<(), Refusal> {
    for (from, to) in &config.rename {
        if let Some(value) = from.take(body) {
            to.set(body, value)?;
        }
    }
    for convert in &config.convert {
        convert.apply(body)?;
    }
    for pointer in &config.remove {
        pointer.take(body);
    }
    for (pointer, fill) in &config.add {
        let value = fill.value(body, around)?;
        pointer.set(body, value)?;
    }
    Ok(())
}
