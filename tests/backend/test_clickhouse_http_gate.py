"""What statements may not do: write, run twice, read or write files, reach the network, or see what is not theirs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import sql_store
from support.sql_store import Sql
from tokentrail.backend.clickhouse_http import syntax_tree
from tokentrail.backend.clickhouse_http.errors import RefusedError, SqlError
from tokentrail.backend.clickhouse_http.lexemes import cut_end

SECRET = "the content of a file"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def sql(directory: Path) -> Iterator[Sql]:
    (directory / "secret.txt").write_text(SECRET)
    with sql_store.opened(directory) as opened:
        yield opened


@pytest.fixture(params=[None, "a"], ids=["every project", "one project"])
def project(request: pytest.FixtureRequest) -> str | None:
    name: str | None = request.param
    return name


READING = [
    "SELECT file('{secret}')",
    "SELECT `file`('{secret}')",
    "SELECT \"file\"('{secret}')",
    "SELECT /* SELECT 1 */ file('{secret}') -- numbers",
    "SELECT length(upper(file('{secret}')))",
    "WITH x AS (SELECT * FROM (WITH y AS (SELECT file('{secret}') AS z) SELECT z FROM y)) SELECT * FROM x",
    "WITH file('{secret}') AS x SELECT x",
    "SELECT 1 WHERE file('{secret}') != ''",
    "SELECT 1 ORDER BY file('{secret}')",
    "SELECT 1 GROUP BY file('{secret}')",
    "SELECT 1 LIMIT length(file('{secret}'))",
    "SELECT quantile(length(file('{secret}')))(1)",
    "SELECT sum(1) OVER (PARTITION BY file('{secret}'))",
    "SELECT * REPLACE (file('{secret}') AS dummy) FROM system.one",
    "SELECT '{secret}' AS a, * APPLY(file) FROM system.one",
    "SELECT COLUMNS('dummy') APPLY file FROM (SELECT '{secret}' AS dummy)",
    "SELECT arrayMap(x -> file(x), ['{secret}'])",
    "SELECT * FROM numbers(3) ARRAY JOIN [file('{secret}')] AS x",
    "SELECT 1 FROM numbers(1) AS a JOIN numbers(1) AS b ON file('{secret}') = '' AND a.number = b.number",
    "SELECT number FROM numbers(3) ORDER BY number WITH FILL INTERPOLATE (x AS file('{secret}'))",
    "SELECT * FROM file('{secret}', 'LineAsString')",
    "SELECT * FROM file('{secret}', LineAsString, 'a String')",
    "SELECT 'x' IN file('{secret}', 'LineAsString')",
    "DESCRIBE file('{secret}')",
    "DESC TABLE file('{secret}', 'LineAsString')",
    "DESCRIBE (SELECT file('{secret}'))",
    "EXPLAIN SELECT file('{secret}')",
    "EXPLAIN AST SELECT file('{secret}')",
    "SELECT * FROM (EXPLAIN SELECT file('{secret}'))",
    "SHOW TABLES WHERE file('{secret}') != ''",
    "SHOW TABLES LIMIT length(file('{secret}'))",
    "SELECT * FROM url('http://127.0.0.1:9/', 'LineAsString')",
    "SELECT * FROM s3('http://127.0.0.1:9/x/y.csv')",
    "SELECT * FROM remote('127.0.0.1:9', system.one)",
    "SELECT * FROM remoteSecure('127.0.0.1:9', system.one)",
    "SELECT * FROM cluster('default', system.parts)",
    "SELECT * FROM clusterAllReplicas('default', system.parts)",
    "SELECT * FROM executable('cat', 'LineAsString', 'a String')",
    "SELECT * FROM python('x')",
    "SELECT * FROM eval('SELECT 1')",
    "SELECT * FROM filesystem('/')",
    "SELECT * FROM sqlite('{secret}', 't')",
    "SELECT * FROM mysql('127.0.0.1:9', 'd', 't', 'u', 'p')",
    "SELECT * FROM postgresql('127.0.0.1:9', 'd', 't', 'u', 'p')",
    "SELECT * FROM mongodb('127.0.0.1:9', 'd', 't', 'u', 'p', 'a String')",
    "SELECT * FROM redis('127.0.0.1:9', 'a', 'a String')",
    "SELECT * FROM hdfs('hdfs://127.0.0.1:9/x', 'CSV', 'a String')",
    "SELECT * FROM deltaLake('http://127.0.0.1:9/x')",
    "SELECT * FROM iceberg('http://127.0.0.1:9/x')",
    "SELECT * FROM icebergLocal('/x')",
    "SELECT * FROM input('a String')",
    "SELECT * FROM merge('default', '.*')",
    "SELECT * FROM merge('system', 'parts')",
    "SELECT * FROM loop(llm_requests)",
    "SELECT * FROM view(SELECT * FROM llm_requests)",
    "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT 1))",
    "SELECT * FROM dictionary('x')",
    "SELECT * FROM mergeTreeIndex('default', 'llm_requests')",
    "SELECT * FROM generateRandom('a String')",
    "SELECT dictGet('x', 'y', 1)",
    "SELECT joinGet('default.cost_correction_values', 'Run', '', now64(9), '', '')",
    "SELECT hasColumnInTable('default', 'metric_snapshots', 'State')",
    "SELECT getSetting('additional_table_filters')",
    "SELECT getServerSetting('path')",
    "SELECT getMacro('x')",
    "SELECT hostName(), FQDN(), filesystemAvailable()",
    "SELECT sleep(1)",
    "SELECT sleepEachRow(1) FROM numbers(3)",
    "SELECT showCertificate()",
    "SELECT catboostEvaluate('/x', 1)",
    "SELECT aiGenerate('x')",
    "SELECT encrypt('aes-128-ecb', 'x', '1234567890123456')",
    "SELECT demangle('x'), addressToLine(1)",
    "SELECT __getScalar('x')",
    "SELECT a.x FROM (SELECT file('{secret}') AS x UNION ALL SELECT '') AS a INTERSECT SELECT ''",
]


@pytest.mark.parametrize("statement", READING)
def test_nothing_outside_of_the_tables_is_read(sql: Sql, directory: Path, project: str | None, statement: str) -> None:
    error = sql.error(statement.replace("{secret}", str(directory / "secret.txt")), project)

    assert SECRET not in str(error)
    assert isinstance(error, RefusedError) or error.code in (46, 62), (error.code, str(error))


CHANGING = [
    "INSERT INTO llm_requests (UserId) VALUES ('x')",
    "INSERT INTO llm_requests (UserId) SELECT 'x'",
    "WITH x AS (SELECT 'x') INSERT INTO llm_requests (UserId) SELECT * FROM x",
    "INSERT INTO FUNCTION file('{out}', 'CSV') SELECT 1",
    "insert into llm_requests (UserId) values ('x'); SELECT 1 INTO OUTFILE '{out}'",
    "CREATE TABLE made (a Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE made AS SELECT 1",
    "CREATE VIEW made AS SELECT 1",
    "CREATE FUNCTION made AS x -> x",
    "CREATE DATABASE made",
    "ATTACH TABLE made FROM '{out}' (a Int8) ENGINE = Memory",
    "DETACH TABLE llm_requests",
    "DROP TABLE llm_requests",
    "TRUNCATE TABLE llm_requests",
    "ALTER TABLE llm_requests DELETE WHERE 1",
    "ALTER TABLE llm_requests UPDATE UserId = '' WHERE 1",
    "DELETE FROM llm_requests WHERE 1",
    "UPDATE llm_requests SET UserId = '' WHERE 1",
    "RENAME TABLE llm_requests TO made",
    "OPTIMIZE TABLE llm_requests FINAL",
    "SET readonly = 0",
    "SET additional_table_filters = {}",
    "SET ROLE DEFAULT",
    "USE system",
    "KILL QUERY WHERE 1",
    "KILL MUTATION WHERE 1",
    "SYSTEM FLUSH LOGS",
    "SYSTEM SHUTDOWN",
    "BACKUP TABLE llm_requests TO File('{out}')",
    "RESTORE TABLE llm_requests FROM File('{out}')",
    "GRANT ALL ON *.* TO default",
    "CHECK TABLE llm_requests",
    "BEGIN TRANSACTION",
    "EXECUTE AS default SELECT 1",
    "SELECT 1 INTO OUTFILE '{out}'",
    "SELECT 1 INTO OUTFILE '{out}' TRUNCATE FORMAT CSV",
    "SELECT 1 INTO OUTFILE '{out}' AND STDOUT",
    "SELECT 1 /* */ INTO -- x\n OUTFILE '{out}' COMPRESSION 'gzip' FORMAT JSON SETTINGS max_threads = 1",
    "(SELECT 1) INTO OUTFILE '{out}'",
    "SELECT 1 UNION ALL SELECT 2 INTO OUTFILE '{out}'",
    "WITH 1 AS x SELECT x INTO OUTFILE '{out}'",
    "SHOW TABLES INTO OUTFILE '{out}'",
    "SHOW CREATE TABLE llm_requests INTO OUTFILE '{out}'",
    "DESC TABLE llm_requests INTO OUTFILE '{out}'",
    "EXISTS TABLE llm_requests INTO OUTFILE '{out}'",
    "EXPLAIN SELECT 1 INTO OUTFILE '{out}'",
    "EXPLAIN INSERT INTO llm_requests (UserId) SELECT 'x'",
    "EXPLAIN AST INSERT INTO llm_requests (UserId) VALUES ('x')",
    "EXPLAIN AST SELECT 1; SELECT 2 INTO OUTFILE '{out}'",
    "SELECT 1; SELECT 2 INTO OUTFILE '{out}'",
    "SELECT 1 FORMAT Null; SELECT 2 INTO OUTFILE '{out}'",
    "SELECT ';'; DROP TABLE llm_requests",
    "SELECT 1 -- ;\n; DROP TABLE llm_requests",
    "; SELECT 1; SELECT 2",
]


@pytest.mark.parametrize("statement", CHANGING)
def test_nothing_is_changed(sql: Sql, directory: Path, project: str | None, statement: str) -> None:
    out = directory / "out"
    tables = sql.text("SHOW TABLES")

    error = sql.error(statement.replace("{out}", str(out)), project)

    assert isinstance(error, RefusedError) or error.code == 62, (error.code, str(error))
    assert not out.exists()
    assert not (directory / "out.gz").exists()
    assert sql.text("SHOW TABLES") == tables
    assert sql.text("SELECT count(), countIf(UserId IN ('', 'x')) FROM llm_requests") == "10\t0"


SETTINGS = [
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS max_threads = 1, readonly = 0",
    "SELECT 1 SETTINGS allow_introspection_functions = 1",
    "SELECT * FROM (SELECT 1 SETTINGS max_threads = 1)",
    "SELECT 1 SETTINGS max_threads = 1 UNION ALL SELECT 2",
    "SELECT * FROM (SELECT UserId FROM llm_requests SETTINGS additional_table_filters = {})",
    "SELECT 1 SETTINGS param_x = '1'",
    "SELECT 1 SETTINGS profile = 'default'",
    "SELECT 1 SETTINGS use_query_cache = 1",
    "SELECT count() FROM llm_requests SETTINGS max_rows_to_read = 1",
    "SELECT 1 SETTINGS max_execution_time = DEFAULT",
    "EXPLAIN indexes = 1 SELECT 1",
    "EXPLAIN PIPELINE SELECT 1",
    "EXPLAIN ESTIMATE SELECT count() FROM llm_requests",
    "EXPLAIN QUERY TREE SELECT 1",
    "EXPLAIN TABLE OVERRIDE mysql('127.0.0.1:9', 'd', 't', 'u', 'p')",
]


@pytest.mark.parametrize("statement", SETTINGS)
def test_settings_of_a_statement_are_the_known_ones_at_its_end(sql: Sql, project: str | None, statement: str) -> None:
    error = sql.error(statement, project)

    assert isinstance(error, RefusedError) or error.code in (62, 36), (error.code, str(error))


TABLES = [
    "SELECT * FROM metric_snapshots",
    "SELECT * FROM default.metric_snapshots",
    "SELECT * FROM `default`.`metric_snapshots`",
    "SELECT * FROM cost_correction_values",
    "SELECT * FROM otel_traces_trace_id_ts_mv",
    "SELECT 1 IN metric_snapshots",
    "SELECT 1 IN (default.metric_snapshots)",
    "SELECT 1 GLOBAL NOT IN default.metric_snapshots",
    "WITH default.metric_snapshots AS x SELECT 1 IN x",
    "SELECT count() FROM numbers(1) WHERE 1 = ANY(SELECT 1 FROM metric_snapshots)",
    "DESCRIBE TABLE metric_snapshots",
    "SHOW CREATE TABLE metric_snapshots",
    "SHOW CREATE TABLE system.query_log",
    *(
        f"SELECT * FROM system.{table}"
        for table in (
            *("query_log", "processes", "user_processes", "errors", "events", "metrics", "disks", "mutations"),
            *("parts_columns", "detached_parts", "merges", "storage_policies", "server_settings", "users", "grants"),
            *("query_cache", "stack_trace", "zookeeper", "session_query_ids", "filesystem_cache", "build_options"),
        )
    ),
    "SELECT 1 IN system.parts_columns",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM INFORMATION_SCHEMA.COLUMNS",
    "SELECT * FROM llm_requests_hourly AS a JOIN system.processes AS b ON 1 = 1",
    "SELECT (SELECT count() FROM system.processes)",
    "SELECT * FROM numbers(1) UNION ALL SELECT rows FROM system.detached_parts",
    "SHOW PROCESSLIST",
    "SHOW MERGES",
    "SHOW GRANTS",
    "SHOW USERS",
    "SHOW CLUSTERS",
    "SHOW DICTIONARIES",
    "SHOW ACCESS",
]


@pytest.mark.parametrize("statement", TABLES)
def test_only_the_tables_with_the_data_and_a_few_of_the_engine_are_read(
    sql: Sql, project: str | None, statement: str
) -> None:
    error = sql.error(statement, project)

    assert isinstance(error, RefusedError), (error.code, str(error))


ALLOWED = [
    ("SELECT 1", "1"),
    ("SELECT 1;", "1"),
    ("select 1 -- comment", "1"),
    ("/* a; b */ SELECT ';' AS `a;b`", ";"),
    ("(SELECT 1) UNION ALL (SELECT 1)", "1\n1"),
    ("SELECT 1 INTERSECT SELECT 1", "1"),
    ("FROM numbers(2) SELECT number", "0\n1"),
    ("WITH 2 AS x SELECT x + 1", "3"),
    ("WITH x AS (SELECT 1 AS a) SELECT a FROM x AS y WHERE a IN x", "1"),
    ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT max(n) FROM r", "3"),
    ("SELECT 'SELECT 1 FORMAT JSON SETTINGS readonly = 0'", "SELECT 1 FORMAT JSON SETTINGS readonly = 0"),
    ("SELECT '1' AS SETTINGS, SETTINGS AS FORMAT", "1\t1"),
    ("SELECT 1 FORMAT CSV SETTINGS max_threads = 1", "1"),
    ("SELECT 1 SETTINGS max_threads = 1 FORMAT CSV", "1"),
    ("SELECT toInt32('5')::String || 'x', [1, 2][1], (1, 'a').2, x -> x", None),
    ("SELECT arrayMap(x -> x * 2, [1]), map('a', 1)['a'], tupleElement((1, 2), 1)", "[2]\t1\t1"),
    ("SELECT CASE WHEN 1 THEN 'a' ELSE 'b' END, CAST(1, 'String'), DATE '2026-01-01' + INTERVAL 1 DAY",
     "a\t1\t2026-01-02"),
    ("SELECT countIf(number > 1), sumOrNullIf(number, number > 9), uniqExact(number), count(DISTINCT number), "
     "quantilesTDigest(0.5)(number), COUNT(*) FROM numbers(3)", "1\t\\N\t3\t3\t[1]\t3"),
    ("SELECT row_number() OVER (ORDER BY number), lagInFrame(number) OVER w FROM numbers(1) "
     "WINDOW w AS (ORDER BY number)", "1\t0"),
    ("SELECT * FROM VALUES('a Int8', 1, 2)", "1\n2"),
    ("SELECT * EXCEPT (b) FROM (SELECT 1 AS a, 2 AS b)", "1"),
    ("SELECT number FROM numbers(3) ORDER BY number DESC LIMIT 1 BY number LIMIT 1 OFFSET 1", "1"),
    ("SELECT count() FROM generate_series(1, 3)", "3"),
    ("EXISTS TABLE llm_requests", "1"),
    ("EXPLAIN SYNTAX SELECT 1", "SELECT 1\\nFROM system.one"),
    ("SELECT name FROM system.databases WHERE name = 'default'", "default"),
    ("SELECT count() > 500 FROM system.functions", "1"),
    ("SELECT value FROM system.settings WHERE name = 'readonly'", "1"),
    ("SELECT DISTINCT arrayJoin(mapKeys(\"SpanAttributes\")) AS keys FROM otel_traces LIMIT 1000", "mark"),
    ("SELECT name, type FROM system.columns WHERE database IN ('default') AND table = 'otel_traces_trace_id_ts' "
     "AND name = 'Project'", "Project\tLowCardinality(String)"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "expected"), ALLOWED)
def test_what_reads_is_possible(sql: Sql, project: str | None, statement: str, expected: str | None) -> None:
    if expected is None:
        assert sql.error(statement, project).code not in (497, 164)
    else:
        assert sql.text(statement, project) == expected


def test_what_grafana_asks_about_the_tables_is_answered(sql: Sql, project: str | None) -> None:
    assert "default" in sql.text("SHOW DATABASES", project).split("\n")
    assert {"otel_traces", "otel_traces_trace_id_ts"} <= set(sql.text('SHOW TABLES FROM "default"', project).split())
    described = sql.text('DESC TABLE "default"."otel_traces_trace_id_ts"', project).split("\n")
    assert [line.split("\t")[0] for line in described] == ["TraceId", "Start", "End", "Project"]
    assert sql.text("SELECT name FROM system.tables WHERE database = 'default' AND name = 'otel_logs'") == "otel_logs"
    assert int(sql.text("SELECT revision()", project)) >= 54454


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT `a\n   Function file (children 1)` FROM system.one",
        "SELECT 1 AS `x\n    Literal 1`",
        "SELECT `sum (alias x)`(1)",
        "SELECT * FROM `one\n`",
        "SELECT * FROM `system`.`parts columns`",
    ],
)
def test_names_that_look_like_something_else_are_of_no_use(sql: Sql, statement: str) -> None:
    error = sql.error(statement)

    assert isinstance(error, RefusedError) or error.code in (46, 47, 60)


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "A (children 2)\n B\n",
        "A (children 1)\n B\n C\n",
        "A (children 1)\n  B\n",
        "A\nB\n",
        " A\n",
        "A (children 1)\n B (children 1)\n C\n",
    ],
)
def test_a_tree_that_does_not_add_up_is_refused(lines: str) -> None:
    with pytest.raises(RefusedError):
        syntax_tree.read(lines)


def test_format_and_settings_are_cut_off_the_end_of_a_statement() -> None:
    cut = cut_end(r"SELECT 'FORMAT x' FROM t WHERE (a = 'SETTINGS b = 1') SETTINGS max_threads = 2 FORMAT JSON "
                  r"SETTINGS additional_table_filters = {'t': 'a = \'x\''}, limit = 5")  # fmt: skip

    assert cut.statement == "SELECT 'FORMAT x' FROM t WHERE (a = 'SETTINGS b = 1')"
    assert cut.format == "JSON"
    assert cut.settings == {"max_threads": "2", "additional_table_filters": {"t": "a = 'x'"}, "limit": "5"}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 AS SETTINGS",
        "SELECT a FORMAT",
        "SELECT (1 FORMAT JSON)",
        "SELECT SETTINGS a + b",
        "SELECT 'FORMAT JSON'",
    ],
)
def test_words_that_are_names_are_left_where_they_are(statement: str) -> None:
    cut = cut_end(statement)

    assert (cut.statement, cut.format, cut.settings) == (statement, None, {})


def test_a_database_other_than_the_one_with_the_data_is_not_there(sql: Sql) -> None:
    assert sql.error("SELECT * FROM nothing.nowhere").code == 81
    assert sql.error("SELECT * FROM nowhere").code == 60
    assert sql.error("SELECT * FROM default.nowhere").code == 60
    assert sql.error("SELEC 1").code == 62
    assert sql.error("SELECT nowhere(1)").code == 46
    assert sql.error("SELECT nowhere FROM otel_traces").code == 47
    with pytest.raises(SqlError):
        sql("SELECT {x:String}")
