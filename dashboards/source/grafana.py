"""What Grafana calls a dashboard, a panel, a variable and a target, with the choices that all boards share."""

# The last version of this form of a dashboard; older ones migrate upwards when Grafana loads them.
SCHEMA_VERSION = 42
PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
LOKI = {"type": "loki", "uid": "${loki}"}
# Targets of both; each target then names its own.
MIXED = {"type": "datasource", "uid": "-- Mixed --"}
WIDTH = 24


def prom(expr, legend="__auto", instant=False, table=False, heatmap=False):
    """A PromQL target. A table is always of one moment, the end of the range."""
    form = "table" if table else "heatmap" if heatmap else "time_series"
    instant = instant or table
    return {
        "datasource": PROMETHEUS,
        "editorMode": "code",
        "expr": expr,
        "format": form,
        "instant": instant,
        "legendFormat": legend,
        "range": not instant,
    }


def loki(expr, legend="", instant=False, lines=None):
    """A LogQL target; `lines` bounds how many log lines it brings."""
    target = {
        "datasource": LOKI,
        "editorMode": "code",
        "expr": expr,
        "legendFormat": legend,
        "queryType": "instant" if instant else "range",
    }
    if lines:
        target["maxLines"] = lines
    return target


def panel(kind, title, description, targets, unit="short", w=8, h=8, options=None, defaults=None, **more):
    """Any panel. Its place and its number come from the board."""
    sources = [target["datasource"] for target in targets]
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": sources[0] if all(source == sources[0] for source in sources) else MIXED,
        "targets": [{"refId": chr(ord("A") + n), **target} for n, target in enumerate(targets)],
        "fieldConfig": {"defaults": {"unit": unit, **(defaults or {})}, "overrides": more.pop("overrides", [])},
        "options": options or {},
        "gridPos": {"w": w, "h": h},
        **more,
    }


def series(title, description, *targets, stack=False, bars=False, calcs=("max", "lastNotNull"), **more):
    """Values over time, with a table for a legend: sums and extremes can be read without pointing at anything."""
    custom = {
        "drawStyle": "bars" if bars else "line",
        "fillOpacity": 60 if bars else 25 if stack else 8,
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stack else "none", "group": "A"},
    }
    defaults = {"custom": custom, "min": 0, **more.pop("defaults", {})}
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": list(calcs)},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel("timeseries", title, description, targets, options=options, defaults=defaults, **more)


def stat(title, description, *targets, thresholds=None, w=4, h=4, mappings=None, **more):
    """One number; coloured only where a threshold says what is good."""
    defaults = {"color": {"mode": "thresholds"}, "thresholds": steps(thresholds or [("blue", None)])}
    if mappings:
        defaults["mappings"] = mappings
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": more.pop("text", "auto"),
    }
    defaults |= more.pop("defaults", {})
    return panel("stat", title, description, targets, w=w, h=h, options=options, defaults=defaults, **more)


def bars(title, description, *targets, **more):
    """One horizontal bar for each series."""
    options = {
        "displayMode": "gradient",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showUnfilled": True,
        "valueMode": "color",
    }
    defaults = {"color": {"mode": "continuous-BlYlRd"}, "min": 0, "decimals": 0, **more.pop("defaults", {})}
    return panel("bargauge", title, description, targets, options=options, defaults=defaults, **more)


def table(title, description, *targets, columns, sort=None, join=None, links=None, units=None, widths=None, **more):
    """Rows of the end of the range. `columns` maps what comes to what is shown, in this order; the rest is hidden.

    `join` names the column that rows of several targets have in common; `links` maps shown columns to links, `units`
    to units other than the panel's, `widths` to pixels.
    """
    steps_ = [{"id": "joinByField", "options": {"byField": join, "mode": "outer"}}] if join else []
    steps_ += more.pop("first", [])
    # Grafana calls the only target that brought anything just Value.
    if "Value #A" in columns:
        columns = columns | {"Value": columns["Value #A"]}
    names = list(columns)
    steps_ += [
        {"id": "filterFieldsByName", "options": {"include": {"names": names}}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {},
                "indexByName": {name: n for n, name in enumerate(names)},
                "renameByName": {name: shown for name, shown in columns.items() if name != shown},
            },
        },
    ]
    overrides = [override(name, links=found) for name, found in (links or {}).items()]
    overrides += [override(name, unit=unit) for name, unit in (units or {}).items()]
    overrides += [override(name, **{"custom.width": width}) for name, width in (widths or {}).items()]
    options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}}
    if sort:
        options["sortBy"] = [{"displayName": sort, "desc": True}]
    defaults = {"custom": {"align": "auto", "filterable": True, "inspect": True}, "decimals": 0}
    return panel(
        "table",
        title,
        description,
        targets,
        options=options,
        defaults=defaults | more.pop("defaults", {}),
        overrides=overrides + more.pop("overrides", []),
        transformations=steps_,
        **more,
    )


def logs(title, description, *targets, **more):
    """Log lines, the newest first."""
    options = {
        "dedupStrategy": "none",
        "enableLogDetails": True,
        "prettifyLogMessage": False,
        "showCommonLabels": False,
        "showLabels": False,
        "showTime": True,
        "sortOrder": "Descending",
        "wrapLogMessage": True,
    }
    return panel("logs", title, description, targets, options=options, **more)


def heatmap(title, description, *targets, unit="s", **more):
    """A histogram's buckets over time."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 64, "exponent": 0.5, "fill": "dark-blue"},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "unit": unit},
    }
    return panel("heatmap", title, description, targets, unit=unit, options=options, **more)


def countries(title, description, expr, **more):
    """A map with a mark on each country; `expr` gives one value by `country`, ISO 3166's two letters."""
    layer = {
        "type": "markers",
        "name": title,
        "location": {"mode": "lookup", "lookup": "country", "gazetteer": "public/gazetteer/countries.json"},
        "config": {
            "showLegend": False,
            "style": {
                "color": {"field": "Value", "fixed": "dark-blue"},
                "opacity": 0.6,
                "size": {"field": "Value", "fixed": 5, "min": 4, "max": 30},
                "symbol": {"mode": "fixed", "fixed": "img/icons/marker/circle.svg"},
            },
        },
        "tooltip": True,
    }
    options = {
        "basemap": {"type": "default", "name": "Base", "config": {}},
        "controls": {"showZoom": True, "mouseWheelZoom": False, "showAttribution": True},
        "layers": [layer],
        "tooltip": {"mode": "details"},
        "view": {"id": "zero", "lat": 20, "lon": 0, "zoom": 1, "allLayers": True},
    }
    defaults = {"color": {"mode": "continuous-BlYlRd"}, "decimals": 0}
    target = prom(expr, table=True)
    return panel("geomap", title, description, [target], options=options, defaults=defaults, **more)


def override(name, **properties):
    """What a field of this name has other than the panel's."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": id_, "value": value} for id_, value in properties.items()],
    }


def steps(thresholds):
    """Colours by the value that they begin at; None is the lowest."""
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for color, value in thresholds]}


def mapping(**texts):
    """What is shown in the place of a value: `_0="no"`."""
    options = {value.lstrip("_"): {"text": text, "index": n} for n, (value, text) in enumerate(texts.items())}
    return {"type": "value", "options": options}


def link(title, uid, variables):
    """To another board, with the same time, sources and filters. `variables`: what else to set there."""
    kept = "&".join(f"${{{name}:queryparam}}" for name in ("datasource", "loki", "job", "instance"))
    return {"title": title, "url": f"/d/{uid}?${{__url_time_range}}&{kept}&{variables}", "targetBlank": False}


def datasource(name, kind, label):
    return {"type": "datasource", "name": name, "label": label, "query": kind, "regex": "", "hide": 0, "current": {}}


def query(name, label, expr, all_value=None, multi=True, regex="", source=PROMETHEUS, current=None):
    """A variable with the values of a label. Without `all_value` one of them is always chosen."""
    text = {"qryType": 1, "query": expr, "refId": "PrometheusVariableQueryEditor-VariableQuery"}
    if source is LOKI:
        stream, _, wanted = expr.removeprefix("label_values(").removesuffix(")").rpartition(", ")
        text = {"type": 1, "stream": stream, "label": wanted, "refId": "LokiVariableQueryEditor-VariableQuery"}
    variable = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": source,
        "definition": expr,
        "query": text,
        "regex": regex,
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "multi": multi,
        "includeAll": all_value is not None,
        "current": {"text": current, "value": current} if current else {},
    }
    if all_value is not None:
        variable |= {"allValue": all_value, "current": {"text": "All", "value": "$__all"}}
    return variable


def choice(name, label, values, default, kind="interval"):
    """A variable with values of its own."""
    variable = {
        "type": kind,
        "name": name,
        "label": label,
        "query": ",".join(values),
        "options": [{"text": value, "value": value, "selected": value == default} for value in values],
        "current": {"text": default, "value": default},
        "hide": 0,
    }
    return variable | ({"auto": False, "refresh": 2} if kind == "interval" else {})


def event(name, expr, color, source=PROMETHEUS, **more):
    """Marks on all panels, from a query."""
    return {"name": name, "datasource": source, "enable": True, "hide": False, "iconColor": color, "expr": expr} | more


def outside(title, url, tooltip):
    """A link in the board's head, to a page of others."""
    return {
        "type": "link",
        "title": title,
        "url": url,
        "icon": "info",
        "tooltip": tooltip,
        "tags": [],
        "targetBlank": True,
    }


def row(title, *panels, collapsed=False):
    return {"title": title, "panels": panels, "collapsed": collapsed}


def board(uid, title, description, variables, *rows, annotations=(), links=(), refresh="1m", begin="now-6h"):
    """The dashboard, its panels laid out row by row from the left. `id` is Grafana's own number, so there is none."""
    return {
        "id": None,
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["weir", uid.removeprefix("weir-")],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "timezone": "browser",
        "refresh": refresh,
        "time": {"from": begin, "to": "now"},
        "timepicker": {},
        "links": [
            {
                "type": "dashboards",
                "title": "weir",
                "tags": ["weir"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "",
                "url": "",
            },
            *links,
        ],
        "templating": {"list": list(variables)},
        "annotations": {"list": list(annotations)},
        "panels": _laid_out(rows),
    }


def _laid_out(rows):
    placed, y = [], 0
    for row_ in rows:
        head = {"type": "row", "title": row_["title"], "collapsed": row_["collapsed"], "panels": []}
        placed.append(head | {"gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}})
        inside, y = _flow(row_["panels"], y + 1)
        if row_["collapsed"]:
            placed[-1]["panels"] = inside
            y = placed[-1]["gridPos"]["y"] + 1
        else:
            placed += inside
    number = 0
    for found in placed:
        for one in [found, *found.get("panels", [])]:
            number += 1
            one["id"] = number
    return placed


def _flow(panels, y):
    placed, x, lowest = [], 0, y
    for one in panels:
        size = one["gridPos"]
        if x + size["w"] > WIDTH:
            x, y = 0, lowest
        placed.append({**one, "gridPos": {"x": x, "y": y, **size}})
        x += size["w"]
        lowest = max(lowest, y + size["h"])
    return placed, lowest
