#!/usr/bin/env python3
"""Makes the MaxMind-format databases of the tests and of `weir demo`.

    python3 -m venv /tmp/geo && /tmp/geo/bin/pip install mmdb_writer==0.2.7 maxminddb netaddr==1.3.0 pycountry
    (cd /tmp && npm pack @ip-location-db/geo-whois-asn-country-mmdb && tar -xzf ip-location-db-geo-whois-*.tgz)
    /tmp/geo/bin/python tests/corpus/geoip/make_geoip.py /tmp/package/geo-whois-asn-country.mmdb

Without an argument it makes only the databases with invented data, here; with one also ../demo/country.mmdb.
"""

import ipaddress
import json
import pathlib
import sys

import maxminddb
import mmdb_writer
import pycountry
from mmdb_writer import MMDBWriter, MmdbF64, MmdbU16, MmdbU32
from netaddr import IPNetwork, IPSet

HERE = pathlib.Path(__file__).parent
DEMO = HERE.parent / "demo"

# The build time that every database states: the corpus' day, so that the same input gives the same bytes.
BUILT = 1795219200

# The names that people use, where ISO 3166 has a longer one and no common name for it.
NAMES = {"RU": "Russia", "GB": "United Kingdom", "KR": "South Korea", "TR": "Türkiye", "NL": "The Netherlands"}


def names(english, **others):
    return {"en": english} | others


def country(code):
    """A GeoIP2 country record's `country` field, from a code of ISO 3166."""
    entry = pycountry.countries.get(alpha_2=code)
    name = NAMES.get(code) or getattr(entry, "common_name", None) or entry.name
    return {"iso_code": code, "names": names(name)}


# 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24 and 2001:db8::/32 are reserved for documentation; what is said of them is
# invented. No database says anything of 10.0.0.0/8 and 127.0.0.0/8.
CITY = {
    # Every field; two subdivisions, the last of which is the one that Promtail shows.
    "192.0.2.0/25": {
        "city": {"geoname_id": MmdbU32(1), "names": names("Boxford", de="Boxfurt")},
        "continent": {"code": "EU", "geoname_id": MmdbU32(2), "names": names("Europe", de="Europa")},
        "country": {"geoname_id": MmdbU32(3), "iso_code": "GB", "names": names("United Kingdom")},
        "location": {
            "accuracy_radius": MmdbU16(100),
            "latitude": MmdbF64(51.75),
            "longitude": MmdbF64(-1.25),
            "time_zone": "Europe/London",
        },
        "postal": {"code": "OX1"},
        "registered_country": {"geoname_id": MmdbU32(4), "iso_code": "FR", "names": names("France")},
        "subdivisions": [
            {"geoname_id": MmdbU32(5), "iso_code": "ENG", "names": names("England")},
            {"geoname_id": MmdbU32(6), "iso_code": "WBK", "names": names("West Berkshire")},
        ],
    },
    # Partial: a country and no more. MaxMind's databases are full of these.
    "192.0.2.128/25": {"country": {"geoname_id": MmdbU32(7), "iso_code": "SE", "names": names("Sweden")}},
    # Partial the other way: a place without a city, without a postal code, at longitude zero.
    "198.51.100.0/24": {
        "continent": {"code": "AF", "names": names("Africa")},
        "country": {"iso_code": "GH", "names": names("Ghana")},
        "location": {"latitude": MmdbF64(5.5), "longitude": MmdbF64(0.0), "time_zone": "Africa/Accra"},
        "subdivisions": [{"iso_code": "AA", "names": names("Greater Accra")}],
    },
    # Only names of another language, and only what a country is registered as.
    "203.0.113.0/25": {
        "city": {"names": {"de": "Nirgendwo"}},
        "registered_country": {"iso_code": "DE", "names": names("Germany")},
    },
    # An entry with nothing in it is not the same as no entry.
    "203.0.113.128/25": {},
    "2001:db8:1::/48": {
        "city": {"names": names("Zürich")},
        "continent": {"code": "EU", "names": names("Europe")},
        "country": {"iso_code": "CH", "names": names("Switzerland")},
        "location": {"latitude": MmdbF64(47.37), "longitude": MmdbF64(8.54), "time_zone": "Europe/Zurich"},
        "postal": {"code": "8001"},
        "subdivisions": [{"iso_code": "ZH", "names": names("Zurich")}],
    },
}

ASN = {
    "192.0.2.0/24": {
        "autonomous_system_number": MmdbU32(64496),
        "autonomous_system_organization": 'Example "Quoted" Networks',
    },
    "198.51.100.0/24": {"autonomous_system_number": MmdbU32(4200000000)},
    "2001:db8::/32": {
        "autonomous_system_number": MmdbU32(64511),
        "autonomous_system_organization": "Beispiel für Alle AG",
    },
}

COUNTRY = {
    "192.0.2.0/24": {"country": country("GB"), "continent": {"code": "EU", "names": names("Europe")}},
    "198.51.100.0/24": {"country": country("GH")},
    "203.0.113.0/24": {"registered_country": country("DE")},
    "2001:db8:1::/48": {"country": country("CH")},
}

FLAT_COUNTRY = {
    "192.0.2.0/24": {"country_code": "US"},
    "198.51.100.0/24": {"country_code": ""},
    "2001:db8::/32": {"country_code": "JP"},
}

# ip-location-db's city records: coordinates are numbers, a missing text is empty.
FLAT_CITY = {
    "192.0.2.0/24": {
        "city": "Mountain View",
        "country_code": "US",
        "latitude": MmdbF64(37.42),
        "longitude": MmdbF64(-122.08),
        "postcode": "94043",
        "state1": "California",
        "state2": "Santa Clara",
        "timezone": "America/Los_Angeles",
    },
    "2001:db8::/32": {
        "city": "",
        "country_code": "JP",
        "latitude": MmdbF64(35.69),
        "longitude": MmdbF64(139.69),
        "postcode": "",
        "state1": "",
        "state2": "",
        "timezone": "",
    },
}


def write(path, database_type, entries, description):
    """Writes networks and their records; an IPv4 network stands below ::/96, as in MaxMind's own databases."""
    mmdb_writer.time.time = lambda: BUILT
    writer = MMDBWriter(
        ip_version=6, ipv4_compatible=True, database_type=database_type, languages=["en"], description=description
    )
    for network, record in entries.items():
        writer.insert_network(IPSet([IPNetwork(network)]), record)
    writer.to_db_file(str(path))
    with maxminddb.open_database(str(path)) as database:
        for network, record in entries.items():
            first = str(IPNetwork(network)[1])
            assert database.get_with_prefix_len(first)[0] is not None, (path, first)
        assert database.get("10.1.2.3") is None
    print(f"{path.name}: {len(entries)} networks, {path.stat().st_size} bytes")


def excerpt_addresses():
    """Every client address that an excerpt beside this folder holds."""
    found = set()
    for path in HERE.parent.glob("*/truth.json"):
        total = json.loads(path.read_text())["sum_of_runs"]
        found |= set(total["access"]["by_client"]) | set(total["modsec"]["by_client"])
    addresses = [ipaddress.ip_address(text) for text in found if not text.startswith("(")]
    # An IPv4 address in IPv6's clothes is looked up as the IPv4 address.
    addresses = {getattr(address, "ipv4_mapped", None) or address for address in addresses}
    return sorted(addresses, key=lambda address: (address.version, address))


def demo_networks(source):
    """The source's own networks that hold an address of the excerpts, in the GeoIP2 schema."""
    entries = {}
    with maxminddb.open_database(source) as database:
        for address in excerpt_addresses():
            record, prefix = database.get_with_prefix_len(str(address))
            if record:
                network = ipaddress.ip_network(f"{address}/{prefix}", strict=False)
                entries[str(network)] = {"country": country(record["country_code"])}
    return entries


def main():
    invented = "Invented data for tests; the networks are those of documentation"
    write(HERE / "city.mmdb", "GeoLite2-City", CITY, invented)
    write(HERE / "asn.mmdb", "GeoLite2-ASN", ASN, invented)
    write(HERE / "country.mmdb", "GeoIP2-Country", COUNTRY, invented)
    write(HERE / "flat-country.mmdb", "country ipvAll", FLAT_COUNTRY, invented)
    write(HERE / "flat-city.mmdb", "city ipvAll", FLAT_CITY, invented)
    if len(sys.argv) > 1:
        origin = "Some networks of geo-whois-asn-country by ip-location-db, CC-BY-4.0, data by NRO (nro.net)"
        write(DEMO / "country.mmdb", "GeoIP2-Country", demo_networks(sys.argv[1]), origin)


if __name__ == "__main__":
    main()
