"""All SQL plumbing: engine, schema, migrations, blobs, audit."""
