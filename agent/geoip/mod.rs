//! geoip
