"""Where k2ctl builds upon parts of pyiceberg 0.12 that it does not promise to keep: nowhere but here.

Each has a reason, and a test in `tests/contract/test_library_overrides.py` that fails when pyiceberg changes the part,
or no longer gives the reason.

| part of pyiceberg | used by | reason |
|---|---|---|
| `Transaction._updates`, `_table` | `QuickTransaction` | `table_metadata` copies the metadata at every access |
| `update._apply_table_update` and its context | `QuickTransaction` | `update_table_metadata` ends with a deep copy |
| `Transaction._requirements` | `QuickTransaction` | no requirement of schema and spec can be stated |
| `update.snapshot._OverwriteFiles`, its `_summary` | `ReplacedFiles` | no API makes a `replace` snapshot |
| `Transaction._stage` | `stage_removal`, `stage_tag` | expiry, and a tag, cannot ride along with an append |
| a `ValueError` of a removed snapshot | `QuickTransaction` | two expiries at once are a conflict |
| `avro.file.BinaryEncoder`, its `_output_stream` | `QuickEncoder` | a commit of many files spends its time there |
| `avro.resolver.MapWriter` | `QuickMapWriter` | as above |
| `SqlCatalog._init_catalog` | `HookedCatalog` | nothing else comes before the first connection |
| `Catalog._delete_old_metadata` | `HookedCatalog` | it deletes files that another table's row names |
| `sql.IcebergTables`, `SqlCatalogBaseTable` | `TABLE_ROWS`, `catalog_tables` | no API asks for a location alone |
| `RestCatalog._config_headers` | `BoundedRestCatalog` | it is called for each session, and no property bounds a wait |
| `RestCatalog._session`, `_refresh_token`, `_split_identifier_for_path` | `in_short` | as above |
| `RestCatalog._supported_endpoints` | `can` | no API tells what the service offers |
| `PyArrowFileIO._initialize_local_fs`, `_initialize_s3_fs` | `HookedFileIO` | no property gives it a file system |
| `S3FileSystem.__reduce__` (pyarrow) | `with_delayed_open` | an open file system does not show its options |
| `import` of `expressions.parser`, and of `strictyaml` | `later` | filters of text and a file of settings are rare |
| `PyArrowFile._path`, `_filesystem`, `_buffer_size` | `of_kind` | a `FileIO` cannot choose the class of its files |
"""
