// Tokentrail's dashboards and alerts as a monitoring mixin (https://monitoring.mixins.dev), made of the files beside this
// one: they are generated elsewhere and not meant to be changed here. Jsonnet 0.18 or newer.
{
  grafanaDashboards+:: {
    'tokentrail-backend.json': import 'dashboards/backend.json',
    'tokentrail-cache-limits.json': import 'dashboards/cache-limits.json',
    'tokentrail-cost.json': import 'dashboards/cost.json',
    'tokentrail-errors.json': import 'dashboards/errors.json',
    'tokentrail-latency.json': import 'dashboards/latency.json',
    'tokentrail-overview.json': import 'dashboards/overview.json',
    'tokentrail-prompts.json': import 'dashboards/prompts.json',
    'tokentrail-properties.json': import 'dashboards/properties.json',
    'tokentrail-requests.json': import 'dashboards/requests.json',
    'tokentrail-sessions.json': import 'dashboards/sessions.json',
    'tokentrail-users.json': import 'dashboards/users.json',
  },
  prometheusAlerts+:: {
    groups+: std.parseYaml(importstr 'alerting/tokentrail_rules.yml').groups,
  },
}
