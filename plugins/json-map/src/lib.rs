//! json-map
