-- Operators, operator families and classes, access methods.

create function app.mood_close(app.mood, app.mood) returns boolean
    immutable language sql return $1 = $2 or $1::text = '' or $2::text = '';
create operator app.~=~ (
    leftarg = app.mood, rightarg = app.mood, function = app.mood_close,
    commutator = operator(app.~=~),
    negator = operator(app.!~=~), restrict = eqsel, join = eqjoinsel
);
create function app.mood_far(app.mood, app.mood) returns boolean
    immutable language sql return not app.mood_close($1, $2);
create operator app.!~=~ (
    leftarg = app.mood, rightarg = app.mood, function = app.mood_far,
    commutator = operator(app.!~=~),
    negator = operator(app.~=~)
);
comment on operator app.~=~ (app.mood, app.mood) is 'About the same';
create function app.negated(app.count) returns integer immutable language sql return -($1::integer);
create operator app.@-@ (rightarg = app.count, function = app.negated);

-- Operators of the base type, good enough for an index.
create function app.count_lt(app.count, app.count) returns boolean
    immutable strict language internal as 'int4lt';
create function app.count_le(app.count, app.count) returns boolean
    immutable strict language internal as 'int4le';
create function app.count_eq(app.count, app.count) returns boolean
    immutable strict language internal as 'int4eq';
create function app.count_ge(app.count, app.count) returns boolean
    immutable strict language internal as 'int4ge';
create function app.count_gt(app.count, app.count) returns boolean
    immutable strict language internal as 'int4gt';
create function app.count_cmp(app.count, app.count) returns integer
    immutable strict language internal as 'btint4cmp';
create operator app.< (leftarg = app.count, rightarg = app.count, function = app.count_lt,
    commutator = operator(app.>), negator = operator(app.>=), restrict = scalarltsel);
create operator app.<= (leftarg = app.count, rightarg = app.count, function = app.count_le,
    commutator = operator(app.>=), negator = operator(app.>), restrict = scalarlesel);
create operator app.= (leftarg = app.count, rightarg = app.count, function = app.count_eq,
    commutator = operator(app.=), restrict = eqsel, join = eqjoinsel, hashes, merges);
create operator app.>= (leftarg = app.count, rightarg = app.count, function = app.count_ge,
    commutator = operator(app.<=), negator = operator(app.<), restrict = scalargesel);
create operator app.> (leftarg = app.count, rightarg = app.count, function = app.count_gt,
    commutator = operator(app.<), negator = operator(app.<=), restrict = scalargtsel);

create operator family app.count_family using btree;
comment on operator family app.count_family using btree is 'For app.count';
create operator class app.count_ops default for type app.count using btree
    family app.count_family as
    operator 1 app.<, operator 2 app.<=, operator 3 app.=, operator 4 app.>=, operator 5 app.>,
    function 1 app.count_cmp(app.count, app.count);
comment on operator class app.count_ops using btree is 'As integers';
-- Loose members of a family, across types.
create function app.count_integer_lt(app.count, integer) returns boolean
    immutable strict language internal as 'int4lt';
create operator app.< (leftarg = app.count, rightarg = integer, function = app.count_integer_lt);
create function app.count_integer_cmp(app.count, integer) returns integer
    immutable strict language internal as 'btint4cmp';
alter operator family app.count_family using btree add
    operator 1 app.< (app.count, integer),
    function 1 (app.count, integer) app.count_integer_cmp(app.count, integer);
create operator class app.text_by_bytes for type text using btree as
    operator 1 ~<~, operator 2 ~<=~, operator 3 =, operator 4 ~>=~, operator 5 ~>~,
    function 1 bttext_pattern_cmp(text, text);

create access method everything_heap type table handler heap_tableam_handler;
create access method everything_gist type index handler gisthandler;
comment on access method everything_heap is 'heap under another name';
