-- Nothing ever wrote a mark: what may be deleted is found by looking for what nobody names (see docs/content.md).

DROP TABLE qerds.object_mark;
