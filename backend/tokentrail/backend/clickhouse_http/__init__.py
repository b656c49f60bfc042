"""SQL over ClickHouse's HTTP interface, for reading alone: what Grafana's ClickHouse data source needs."""
