"""The routes of every generation of InfluxDB, and which of them exist at the gateway. From their sources."""

from __future__ import annotations

__all__ = ["ALLOWED", "METHODS", "PATHS"]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")

_V1 = """
/ /query /write /ping /status /health /metrics /api/v1/prom/write /api/v1/prom/read /debug/vars /debug/requests
/debug/requests?seconds=1 /debug/pprof /debug/pprof/ /debug/pprof/cmdline /debug/pprof/profile /debug/pprof/symbol
/debug/pprof/trace /debug/pprof/heap /debug/pprof/goroutine /debug/pprof/block /debug/pprof/all /debug/fgprof
/debug/flux /api/v2/query /api/v2/delete /api/v2/buckets /api/v2/buckets/0000000000000001
"""
"""1.6 to 1.12: services/httpd/handler.go."""

_V2 = """
/api/v2 /api/v2/ /api/v2/authorizations /api/v2/backup/kv /api/v2/backup/metadata /api/v2/backup/shards/1
/api/v2/buckets/0000000000000001/labels /api/v2/buckets/0000000000000001/members /api/v2/checks /api/v2/config
/api/v2/dashboards /api/v2/dbrps /api/v2/flags /api/v2/labels /api/v2/me /api/v2/me/password
/api/v2/notificationEndpoints /api/v2/notificationRules /api/v2/orgs /api/v2/orgs/0000000000000001/secrets
/api/v2/query/analyze /api/v2/query/ast /api/v2/query/suggestions /api/v2/remotes /api/v2/replications
/api/v2/resources /api/v2/restore/kv /api/v2/restore/sql /api/v2/restore/shards/1 /api/v2/restore/buckets/1
/api/v2/scrapers /api/v2/setup /api/v2/signin /api/v2/signout /api/v2/sources /api/v2/stacks /api/v2/tasks
/api/v2/tasks/0000000000000001/run /api/v2/telegraf/plugins /api/v2/telegrafs /api/v2/templates/apply
/api/v2/templates/export /api/v2/users /api/v2/users/0000000000000001/password /api/v2/variables /api/v2/views
/api/v2/write /api/v2/ping /ready /docs /api/v2/swagger.json /private/legacy/authorizations /legacy/query
/legacy/write /swagger.json /static/index.js /signin
"""
"""2.x: http/platform_handler.go and the handlers it mounts, and the documentation of its API."""

_V3 = """
/api/v3/write_lp /api/v3/query_sql /api/v3/query_sql?q=SELECT+1 /api/v3/query_influxql /api/v3/configure/database
/api/v3/configure/database/retention_period /api/v3/configure/table /api/v3/configure/last_cache
/api/v3/configure/distinct_cache /api/v3/configure/processing_engine_trigger
/api/v3/configure/processing_engine_trigger/disable /api/v3/configure/processing_engine_trigger/enable
/api/v3/configure/plugin_environment/install_packages /api/v3/configure/plugin_environment/install_requirements
/api/v3/configure/token /api/v3/configure/token/admin /api/v3/configure/token/admin/regenerate
/api/v3/configure/enterprise/token /api/v3/engine/x /api/v3/plugin_test/wal /api/v3/plugin_test/schedule
/api/v3/plugins/files /api/v3/plugins/directory /api/v3/show/license /api/v3/test/x /api/v1/health
/arrow.flight.protocol.FlightService/DoGet
"""
"""3.x Core: influxdb3_server/src/http.rs, `all_paths`, and the documentation of its API."""

_DISGUISES = """
//write /write/ /%77rite /write%00 /./write /x/../write /WRITE /write;x /write/../query //ping /ping/ /Ping /query/
/api//v2/write /api/v2/write/ /api/v2/../v2/write /api/v3/write_lp/ /health/ /favicon.ico /robots.txt /.git/config
/admin
"""
"""Paths that some servers take for others."""

PATHS = tuple(dict.fromkeys(f"{_V1} {_V2} {_V3} {_DISGUISES}".split()))

ALLOWED = {
    ("POST", "/write"): 400,
    ("POST", "/api/v2/write"): 404,
    ("POST", "/api/v3/write_lp"): 400,
    ("GET", "/ping"): 204,
    ("HEAD", "/ping"): 204,
    ("GET", "/health"): 200,
}
"""What exists: its method, its path, and the status when nothing else is said, no database for instance.

`/query` answers to `CREATE DATABASE` alone; asked for nothing, or for anything else, it does not exist.
"""
