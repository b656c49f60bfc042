"""SQL with a key of one project: its rows alone, in every shape of a statement, in errors, and beside its own filters.

All projects have calls and spans with the same ids, and each another number of them (`support.sql_store`), so that a
count tells whose rows it was made of.
"""

from collections.abc import Iterator

import pytest

from support import sql_store
from support.sql_store import CALLS, MARK, PROJECTS, Sql, mark
from tokentrail.backend.clickhouse_http.errors import SqlError

ALL = sum(CALLS.values())


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sql]:
    with sql_store.opened(tmp_path_factory.mktemp("projects")) as opened:
        yield opened


def own(project: str | None) -> int:
    return ALL if project is None else CALLS[project]


COUNTS = [
    "SELECT count() FROM {table}",
    "SELECT count(*) FROM default.{table}",
    "SELECT count() FROM `default`.`{table}` AS x",
    "SELECT count(Project) FROM {table} AS x",
    "SELECT countIf(TraceId != '') FROM {table}",
    "SELECT sum(1) FROM (SELECT * FROM {table})",
    "SELECT sum(one) FROM (SELECT 1 AS one, x.TraceId FROM {table} AS x)",
    "SELECT (SELECT count() FROM {table})",
    "SELECT c FROM (SELECT count() AS c FROM {table} UNION ALL SELECT 0) WHERE c > 0",
    "WITH x AS (SELECT * FROM {table}) SELECT count() FROM x",
    "WITH x AS (SELECT * FROM (WITH y AS (SELECT * FROM {table}) SELECT * FROM y)) SELECT count() FROM x AS z",
    "WITH {table} AS (SELECT * FROM default.{table}) SELECT count() FROM {table}",
    "WITH (SELECT count() FROM {table}) AS x SELECT x",
    "SELECT count() FROM {table} AS a LEFT JOIN (SELECT 1 AS k) AS b ON b.k = 1",
    "SELECT count() FROM (SELECT 1 AS k) AS b CROSS JOIN {table} AS a",
    "SELECT count() FROM (SELECT 1 AS k) AS b, {table} AS a",
    "SELECT countIf(a.TraceId != '') FROM (SELECT 1 AS k) AS b RIGHT JOIN {table} AS a ON b.k = 1",
    "SELECT count() FROM {table} AS a INNER JOIN system.one AS b ON 1 = 1",
    "SELECT count() FROM {table} ARRAY JOIN [1] AS x",
    "SELECT count() FROM {table} WHERE 1 OR Project = 'b'",
    "SELECT count() FROM {table} WHERE Project != 'nothing' OR 1",
    "SELECT count() FROM {table} WHERE TraceId IN (SELECT TraceId FROM {table})",
    "SELECT count() FROM {table} WHERE (TraceId, Project) IN (SELECT TraceId, Project FROM {table})",
    "SELECT count() FROM (SELECT * FROM {table} EXCEPT SELECT * FROM {table} WHERE 0)",
    "SELECT count() FROM (SELECT * FROM {table} ORDER BY TraceId LIMIT 1000)",
    "SELECT max(n) FROM (SELECT count() OVER () AS n FROM {table})",
    "SELECT max(n) FROM (SELECT row_number() OVER (ORDER BY TraceId) AS n FROM {table})",
    "SELECT sum(n) FROM (SELECT _part, count() AS n FROM {table} GROUP BY _part)",
    "SELECT sum(n) FROM (SELECT Project, count() AS n FROM {table} GROUP BY Project WITH ROLLUP HAVING 1 QUALIFY 1) "
    "SETTINGS max_threads = 1",
    "SELECT count() FROM {table} AS a WHERE EXISTS (SELECT 1 FROM {table} AS b WHERE b.Project = a.Project)",
    "FROM {table} SELECT count()",
    "(SELECT count() FROM {table})",
    "SELECT count() FROM {{table:Identifier}}",
    "SELECT count() FROM {{database:Identifier}}.{{table:Identifier}}",
]
DOUBLED = COUNTS[28]


@pytest.mark.parametrize("project", [None, *PROJECTS], ids=["every", "default", "a", "b"])
@pytest.mark.parametrize("statement", COUNTS)
@pytest.mark.parametrize("table", ["llm_requests", "otel_traces", "llm_contents"])
def test_a_statement_of_any_shape_counts_the_rows_of_its_project(
    sql: Sql, table: str, statement: str, project: str | None
) -> None:
    counted = sql(statement.format(table=table), project, parameters={"table": table, "database": "default"}).decode()

    assert int(counted) == own(project) * (2 if statement == DOUBLED else 1)


@pytest.mark.parametrize("value", ["' OR 1 = 1 --", "\\' OR 1", "x\\n' OR '1", "') OR ('1'='1", "}' OR 1 {"])
def test_a_value_of_a_parameter_is_never_sql(sql: Sql, value: str) -> None:
    counted = sql("SELECT count() FROM llm_requests WHERE UserId = {x:String}", "a", parameters={"x": value})

    assert counted == b"0\n"


@pytest.mark.parametrize("project", PROJECTS)
def test_no_column_of_any_table_shows_another_project(sql: Sql, project: str) -> None:
    others = [mark(each) for each in PROJECTS if each != project]
    tables = sql.text(
        "SELECT DISTINCT table FROM system.columns WHERE database = 'default' AND name = 'Project' "
        "AND table NOT LIKE '%\\_mv' AND table != 'cost_correction_values'"
    ).split("\n")

    seen = b"".join(sql(f"SELECT * FROM {table}", project) for table in tables)

    assert len(tables) >= 10
    assert mark(project).encode() in seen
    assert [each for each in others if each.encode() in seen] == []


def test_the_same_trace_has_its_times_in_each_project(sql: Sql) -> None:
    statement = "SELECT dateDiff('second', min(Start), max(End)) FROM otel_traces_trace_id_ts"

    assert [sql.text(statement, project) for project in PROJECTS] == [str(CALLS[each] - 1) for each in PROJECTS]
    assert sql.text("SELECT uniqExact(Project) FROM otel_traces_trace_id_ts FINAL") == "3"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT min(Timestamp), max(Timestamp) FROM llm_requests",
        "SELECT uniqExact(SpanId), uniq(SpanId), count(DISTINCT SpanId) FROM otel_traces",
        "SELECT SpanId FROM otel_traces ORDER BY SpanId DESC LIMIT 1",
        "SELECT groupUniqArray(UserId) FROM llm_requests",
        "SELECT DISTINCT UserId FROM llm_requests",
        "SELECT any(UserId), anyLast(UserId), argMax(UserId, Timestamp) FROM llm_requests",
        "SELECT UserId FROM llm_requests GROUP BY UserId WITH TOTALS",
        "SELECT topK(5)(UserId) FROM llm_requests",
        "SELECT UserId, count() FROM llm_requests GROUP BY ALL ORDER BY ALL",
    ],
)
def test_aggregates_and_shortcuts_are_of_the_project(sql: Sql, statement: str) -> None:
    every = sql.text(statement)

    seen = {project: sql.text(statement, project) for project in PROJECTS}

    for project, answer in seen.items():
        assert not [each for each in PROJECTS if each != project and mark(each) in answer]
    assert len({*seen.values(), every}) >= 3, "the projects differ, so that a leak would show"


ERRORS = [
    "SELECT count() FROM {t} WHERE {bad} = 0",
    "SELECT count() FROM {t} WHERE Project = 'b' AND {bad} = 0",
    "SELECT count() FROM {t} WHERE {bad} = 0 AND Timestamp > '2000-01-01'",
    "SELECT count() FROM {t} WHERE TraceId != '' AND {bad} = 0 AND SpanId != ''",
    "SELECT count() FROM {t} WHERE SpanId LIKE '%0%' AND {bad} = 0",
    "SELECT {bad} AS z, count() FROM {t} GROUP BY z",
    "SELECT {bad} FROM {t} ORDER BY Timestamp LIMIT 1",
    "SELECT SpanId FROM {t} ORDER BY {bad}, SpanId LIMIT 1",
    "SELECT SpanId FROM {t} LIMIT 1 BY {bad}",
    "SELECT sum({bad}) OVER () FROM {t}",
    "SELECT sum(1) OVER (PARTITION BY {bad}) FROM {t}",
    "SELECT count() FROM {t} HAVING max({bad}) = 0",
    "SELECT countIf({bad} = 0) FROM {t}",
    "SELECT count() FROM {t} WHERE if(Project = 'b', {bad}, 0) = 0",
    "SELECT count() FROM (SELECT *, {bad} AS z FROM {t}) WHERE z = 0",
    "WITH q AS (SELECT * FROM {t}) SELECT count() FROM q WHERE {bad} = 0",
    "SELECT count() FROM (SELECT Project FROM {t} UNION ALL SELECT Project FROM {t}) WHERE {bad} = 0",
    "SELECT count() FROM (SELECT Project FROM {t} UNION DISTINCT SELECT Project FROM {t}) WHERE {bad} = 0",
    "SELECT count() FROM {t} WHERE SpanId IN (SELECT SpanId FROM {t} WHERE {bad} = 0)",
    "SELECT count() FROM {t} WHERE EXISTS (SELECT 1 FROM {t} WHERE {bad} = 0)",
    "SELECT count() FROM {t} ARRAY JOIN [1, 2] AS k WHERE {bad} = 0",
    "SELECT count() FROM numbers(100) AS n LEFT JOIN {t} ON length({t}.SpanId) = n.number AND {bad} = 0",
    "SELECT count() FROM numbers(100) AS n INNER JOIN {t} ON length({t}.SpanId) = n.number WHERE {bad} = 0",
    "SELECT count() FROM {t} AS x LEFT SEMI JOIN {t} AS y ON x.SpanId = y.SpanId AND throwIf(y.Project != 'a') = 0",
    "SELECT count() FROM {t} AS x LEFT ANTI JOIN {t} AS y ON x.SpanId = y.SpanId AND throwIf(y.Project != 'a') = 0",
    "SELECT count() FROM {t} AS x FULL JOIN {t} AS y ON x.SpanId = y.SpanId AND throwIf(x.Project != 'a') = 0",
    "SELECT count() FROM {t} AS x RIGHT JOIN {t} AS y ON x.SpanId = y.SpanId AND throwIf(x.Project != 'a') = 0",
    "SELECT count() FROM {t} AS x, {t} AS y WHERE x.SpanId = y.SpanId AND throwIf(x.Project != 'a') = 0",
    "SELECT count() FROM {t} WHERE toUInt8(if(Project = 'a', '1', Project)) = 1",
    "SELECT sum(toUInt8(if(Project = 'a', '1', Project))) FROM {t}",
    "SELECT count() FROM {t} WHERE CAST(if(Project = 'a', '1', Project), 'UInt8') = 1 AND SpanId != 'x'",
    "SELECT count() FROM {t} WHERE intDiv(1, Project = 'a') = 1",
]


@pytest.mark.parametrize("table", ["llm_requests", "otel_traces"])
@pytest.mark.parametrize("statement", ERRORS)
def test_no_error_tells_of_rows_of_another_project(sql: Sql, statement: str, table: str) -> None:
    sentence = statement.format(t=table, bad="throwIf(Project != 'a')")

    sql(sentence, "a")  # no row of another project is looked at

    assert sql.error(sentence).code in (6, 32, 153, 395), "with all projects it fails"


def test_an_error_has_no_value_of_a_row_in_it(sql: Sql) -> None:
    statement = "SELECT toUInt32(UserId) FROM llm_requests"

    assert MARK not in str(sql.error(statement, "a"))
    assert sql.error(statement, "a").code == 6
    assert MARK in str(sql.error(statement))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count() FROM llm_requests PREWHERE throwIf(Project != 'a') = 0",
        "SELECT count() FROM (SELECT * FROM llm_requests PREWHERE 1)",
        "EXPLAIN SELECT count() FROM llm_requests",
        "SELECT * FROM schema_migrations",
        "SELECT * FROM cost_correction_runs",
        "SELECT count() FROM system.parts",
        "SELECT rows FROM system.parts",
        "SELECT total_rows FROM system.tables",
        "SELECT t.total_bytes FROM system.tables AS t",
        "SELECT * FROM system.tables",
        "SELECT t.* FROM system.tables AS t",
        "SELECT COLUMNS('total') FROM system.tables",
        "SELECT * EXCEPT (name) FROM (SELECT * FROM system.tables)",
        "WITH x AS (SELECT * FROM system.tables) SELECT count() FROM x WHERE total_rows > 1",
        "SELECT count() FROM system.tables AS a JOIN (SELECT 9 AS total_rows) AS b USING (total_rows)",
        "SELECT count() FROM system.tables NATURAL JOIN (SELECT toNullable(9::UInt64) AS total_rows) AS b",
        "SELECT count() FROM system.tables WHERE (total_rows, 1) IN (SELECT 9, 1)",
        "SELECT data_compressed_bytes FROM system.columns",
        "SELECT marks_bytes AS x FROM system.columns",
        "SELECT data_path FROM system.databases",
        "SELECT data_paths FROM system.tables",
    ],
)
def test_what_is_of_all_projects_is_not_for_one(sql: Sql, statement: str) -> None:
    error = sql.error(statement, "a")

    assert error.code == 497, str(error)


def test_what_is_of_all_projects_is_for_those_who_see_all(sql: Sql) -> None:
    assert sql.text("SELECT sum(rows) FROM system.parts WHERE active AND table = 'llm_requests'") == str(ALL)
    assert int(sql.text("SELECT max(Version) FROM schema_migrations")) >= 13
    assert sql.text("SELECT total_rows FROM system.tables WHERE name = 'llm_requests'") == str(ALL)
    assert sql.text("SELECT count() FROM llm_requests PREWHERE Project = 'b'") == str(CALLS["b"])


def test_a_result_in_json_tells_no_counts_of_what_was_read(sql: Sql) -> None:
    body = sql("SELECT UserId FROM llm_requests ORDER BY Timestamp LIMIT 1", "a", output="JSON").decode()

    assert "rows_read" not in body
    assert str(ALL) not in body


# Ad-hoc filters --------------------------------------------------------------------------------------------------


def filters(condition: str, table: str = "llm_requests") -> dict[str, str]:
    quoted = condition.replace("\\", "\\\\").replace("'", "\\'")
    return {"additional_table_filters": f"{{'{table}' : '{quoted}'}}"}


@pytest.mark.parametrize("table", ["llm_requests", "default.llm_requests"])
def test_filters_of_the_client_are_beside_the_project(sql: Sql, table: str) -> None:
    statement = "SELECT count() FROM llm_requests"

    found = {
        project: sql.text(statement, project, **filters(f" UserId = '{mark('a')}' ", table))
        for project in (None, *PROJECTS)
    }

    assert found == {None: "3", "": "0", "a": "3", "b": "0"}


def test_filters_at_the_end_of_a_statement_count_as_grafana_writes_them(sql: Sql) -> None:
    grafana = (
        "SELECT count() FROM llm_requests settings additional_table_filters={{'llm_requests' : ' UserId = \\'{}\\' '}}"
    )

    assert sql.text(grafana.format(mark("b")), "b") == "5"
    assert sql.text(grafana.format(mark("b")), "a") == "0"
    assert sql.text(grafana.format(mark("b"))) == "5"


@pytest.mark.parametrize(
    "condition",
    [
        "1 OR 1",
        "Project = 'b' OR 1",
        "1 OR Project != 'a'",
        "/* a */ 1 /* b */",
        "1 -- ) OR (1",
        "1 # comment",
        "throwIf(Project != 'a') = 0",
        "toUInt8(if(Project = 'a', '1', Project)) = 1",
        "intDiv(1, Project = 'a') = 1",
        "(1 % (Project = 'a')) = 0",
        "SpanId != '' AND intDiv(1, Project = 'a') = 1",
        "x -> 1 = 1 OR 1",
    ],
)
def test_a_filter_cannot_reach_beyond_the_project(sql: Sql, condition: str) -> None:
    try:
        outcome = sql.text("SELECT count() FROM llm_requests", "a", **filters(condition))
    except SqlError as error:
        outcome = f"error {error.code}"

    assert outcome in ("3", "error 62", "error 43", "error 59"), "3 rows, or not a condition; and no other row was seen"


@pytest.mark.parametrize(
    "condition",
    [
        "1) OR (1",
        "1)) OR ((1",
        "1 /*",
        "1; SELECT 2",
        "1, 2",
        "1 FROM llm_requests",
        "1 UNION ALL SELECT 2",
        "1 SETTINGS additional_table_filters = {}",
        "1 INTO OUTFILE '/tmp/never'",
        "1 FORMAT Null",
        "*",
        "COLUMNS('x')",
        "file('/etc/passwd') != ''",
        "UserId IN (SELECT UserId FROM llm_requests)",
        "UserId IN metric_snapshots",
        "(SELECT count() FROM llm_requests) = 10",
        "EXISTS (SELECT 1)",
        "dictGet('a', 'b', 1) = 1",
        "'unclosed",
        "DISTINCT 1",
    ],
)
@pytest.mark.parametrize("project", [None, "a"])
def test_a_filter_is_one_expression_of_the_columns(sql: Sql, condition: str, project: str | None) -> None:
    error = sql.error("SELECT count() FROM llm_requests", project, **filters(condition))

    assert error.code in (62, 497, 36, 164), (error.code, str(error))


@pytest.mark.parametrize("table", ["system.tables", "nowhere", "metric_snapshots", "x') , ('llm_requests"])
def test_a_filter_on_what_is_no_table_here_is_an_error(sql: Sql, table: str) -> None:
    settings = {"additional_table_filters": "{" + f"'{table.replace(chr(39), chr(92) + chr(39))}': '1'" + "}"}

    assert sql.error("SELECT 1", "a", **settings).code == 36


@pytest.mark.parametrize("value", ["{}", "{'llm_requests': ''}"])
def test_no_filter_is_none_and_the_project_stays(sql: Sql, value: str) -> None:
    assert sql.text("SELECT count() FROM llm_requests", "a", additional_table_filters=value) == "3"


@pytest.mark.parametrize("value", ["x", "{'a'}", "{'a':1}", "{'a':'b','a':'c'}", "['a']", "{'a':'b'} {}"])
def test_filters_that_are_no_map_are_an_error(sql: Sql, value: str) -> None:
    assert sql.error("SELECT 1", "a", additional_table_filters=value).code in (36, 62)
