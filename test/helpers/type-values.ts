/**
 * Values of types, as texts that Postgres reads: for every built-in type that can be stored, and
 * for some that tests create. The tests see to it that no built-in type is missing.
 */

/** Text that is hard on whoever quotes it. */
const awkwardText = [
  '',
  ' ',
  'null',
  'it\'s "quoted"',
  'back\\slash \\n \\u0041 \\\\',
  '\x01\x02\x07\b\t\n\v\f\r\x1b\x1f\x7f',
  'comma, {brace}, [bracket], (paren); </script>',
  'é ü ß 日本語 العربية',
  '😀 👩‍👩‍👧',
  '\u0085\u2028\u2029\ufeff\uffff',
];

const floats = ['0', '-0', '1', '-1.5', '1e-07', '0.1', 'NaN', 'Infinity', '-Infinity'];

/** The built-in types by `pg_type.typname`, in groups that make one table each. */
export const builtinTypes: Record<string, Record<string, readonly string[]>> = {
  integers: {
    int2: ['0', '-32768', '32767'],
    int4: ['0', '-2147483648', '2147483647'],
    int8: ['0', '-9223372036854775808', '9223372036854775807', '9007199254740993'],
    oid: ['0', '2147483648', '4294967295'],
    bool: ['true', 'false'],
    money: ['0', '12.34', '-92233720368547758.08', '92233720368547758.07'],
    xid: ['0', '4294967295'],
    xid8: ['0', '18446744073709551615'],
    cid: ['0', '4294967295'],
    tid: ['(0,0)', '(4294967295,65535)'],
    pg_lsn: ['0/0', '16/B374D848', 'FFFFFFFF/FFFFFFFF'],
    int2vector: ['', '1', '1 -2 32767'],
    oidvector: ['', '1', '1 2 4294967295'],
  },
  'other numbers': {
    numeric: [
      '0',
      '-0',
      '0.0',
      '1.5000000000',
      '-0.000000000000000000001',
      '1e30',
      '1e-30',
      '12345678901234567890.123456789',
      '9'.repeat(1_000),
      `-0.${'7'.repeat(999)}`,
      'NaN',
      'Infinity',
      '-Infinity',
    ],
    float4: [...floats, '3.4028235e38', '1.1754944e-38', '1e-45', '16777217', '1234567.8'],
    float8: [
      ...floats,
      '1.7976931348623157e308',
      '2.2250738585072014e-308',
      '5e-324',
      '0.30000000000000004',
      '9007199254740993',
      '123456789012345678',
      '1e+15',
      '1e+16',
    ],
  },
  texts: {
    text: [...awkwardText, 'x'.repeat(100)],
    varchar: awkwardText,
    bpchar: awkwardText,
    name: ['', 'it\'s "quoted"', 'back\\slash', '\t\x01', 'é😀', 'n'.repeat(63)],
    char: ['', 'a', '"', '\\', '\n', '\x7f', 'é'],
    refcursor: ['', 'my "cursor"'],
    bytea: ['\\x', '\\x00', '\\xdeadbeef', '\\x5c785c27220a', '\\xff00ff'],
  },
  'dates and times': {
    date: ['2024-02-29', '0001-01-01', '4713-01-01 BC', '5874897-12-31', 'infinity', '-infinity'],
    time: ['00:00', '13:14:15.123456', '23:59:59.999999', '24:00:00'],
    timetz: ['00:00+00', '13:14:15.1+05:30', '23:59:59.999999-15:59', '12:00+00:00:01'],
    timestamp: [
      '2024-02-29 13:14:15.1',
      '0001-01-01',
      '4713-01-01 00:00:00 BC',
      '294276-12-31 23:59',
      '1999-12-31 23:59:59.999999',
      'infinity',
      '-infinity',
    ],
    timestamptz: [
      '2024-02-29 13:14:15.123456+02',
      '2024-07-01 12:00',
      '1900-01-01 00:00:00+00',
      '0001-12-31 23:59:59.5+00 BC',
      '294276-12-31 23:59+00',
      'infinity',
      '-infinity',
    ],
    interval: [
      '0',
      '1 year 2 mons 3 days 04:05:06.789',
      '-1 year -2 mons -3 days -04:05:06.789',
      '-1 mon +3 days',
      '1 mon -3 days',
      '3 days -04:05:06',
      '-00:00:00.000001',
      '178000000 years',
      '1000000:00:00',
      '-1 day',
    ],
  },
  networks: {
    uuid: ['00000000-0000-0000-0000-000000000000', 'A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11'],
    inet: ['192.168.0.1', '10.1.2.3/8', '::1', '2001:db8::ff00:42:8329/64', '::ffff:1.2.3.4'],
    cidr: ['0.0.0.0/0', '10.0.0.0/8', '2001:db8::/32'],
    macaddr: ['08:00:2b:01:02:03'],
    macaddr8: ['08:00:2b:01:02:03:04:05'],
    bit: ['0', '1'],
    varbit: ['', '0', '101100111000'],
  },
  documents: {
    json: [
      'null',
      ' {"b" : 1,\n\t"a":[1.50, "\\u0000", "é"], "a":2} ',
      '"\\ud83d\\ude00"',
      '1e400',
    ],
    jsonb: ['null', '{"b": 1, "a": [1.50, null], "": ""}', '"\\"\\\\\\n"', '123456789012345678901'],
    jsonpath: ['$', '$."a b"[*] ? (@.x > 1 && @.y like_regex "^a\\"")'],
    xml: ['', '<a b="c">&lt;é</a>', 'text', '<?xml version="1.0"?><a/>'],
    tsvector: ['', "a:1A b:2,3B 'it''s':4 'back\\\\slash'"],
    tsquery: ['', "'a b' & !c <2> d:*AB | 'it''s'"],
  },
  shapes: {
    point: ['(0,-0)', '(1.5,-1e-300)', '(NaN,Infinity)', '(0.1,0.30000000000000004)'],
    line: ['{1,-1,0}', '{0.1,2,3}'],
    lseg: ['[(0,0),(1,1)]'],
    box: ['(1,1),(0,0)', '(0.1,2),(3,4.5)'],
    path: ['((0,0),(1,1),(2,0))', '[(0,0),(1,1)]'],
    polygon: ['((0,0),(1,1),(2,0))'],
    circle: ['<(0,0),1>', '<(0.1,-0.2),1e10>'],
  },
  ranges: {
    int4range: ['empty', '[1,5)', '(,)', '(1,5]', '[1,]'],
    int8range: ['[-9223372036854775808,9223372036854775806]'],
    numrange: ['[1.10,2.20]', '(,NaN)', '(1,Infinity)'],
    tsrange: ['["2024-02-29 13:14:15.5","2024-03-01"]', '[,infinity)', '[2024-01-01,)'],
    tstzrange: ['["2024-02-29 13:14:15+02",)', '(-infinity,"2024-03-01 00:00+05:30")'],
    daterange: ['[2024-02-29,2024-03-01]', 'empty'],
    int4multirange: ['{}', '{[1,3),[5,8)}', '{(,)}'],
    int8multirange: ['{}', '{[1,3)}'],
    nummultirange: ['{}', '{[1.10,2.20],[3,4]}'],
    tsmultirange: ['{}', '{["2024-02-29 13:14:15.5","2024-03-01"]}'],
    tstzmultirange: ['{}', '{["2024-02-29 13:14:15+02",)}'],
    datemultirange: ['{}', '{[2024-02-29,2024-03-01]}'],
  },
  catalogs: {
    regclass: ['-', 'pg_class', 'public.mood_log', 'app."Mood log"', '4294967295'],
    regtype: ['-', 'integer', 'numeric', 'public.mood', 'app."Mood"'],
    regproc: ['-', 'now', 'pg_catalog.pi'],
    regprocedure: ['-', 'abs(integer)', 'now()'],
    regoper: ['0', '||/'],
    regoperator: ['0', '+(integer,integer)', '-(NONE,numeric)'],
    regcollation: ['-', '"C"'],
    regnamespace: ['-', 'app', 'public'],
    regrole: ['-', 'pg_monitor'],
    regconfig: ['simple', 'english'],
    regdictionary: ['simple', 'english_stem'],
    aclitem: ['pg_monitor=r/pg_monitor', '=X*/pg_monitor'],
    txid_snapshot: ['10:20:10,14,15', '1:1:'],
    pg_snapshot: ['10:20:10,14,15', '1:1:', '9223372036854775000:9223372036854775001:'],
  },
};

/** Built-in types with modifiers, by the name of a column. */
export const modifiedTypes: Record<string, readonly [type: string, ...values: string[]]> = {
  padded: ['character(5)', '', 'ab', 'é😀', 'abcde', ' a'],
  limited: ['character varying(10)', '', 'abcdefghij', 'é😀'],
  scaled: ['numeric(20,10)', '0', '1.5', '-9999999999.9999999999', 'NaN'],
  rounded: ['numeric(5,-2)', '0', '1250', '-99900'],
  bits: ['bit(3)', '101', '000'],
  varbits: ['bit varying(5)', '', '10110'],
  precise: ['timestamp(3) with time zone', '2024-02-29 13:14:15.1239+00', 'infinity'],
  seconds: ['time(0) without time zone', '13:14:15.6'],
  months: ['interval year to month', '1 year 2 mons', '-3 mons'],
  moments: ['interval day to second(2)', '3 days 04:05:06.789'],
};

/** Creates the types of `createdTypes`, and what the catalog types refer to. */
export const typeDefinitions = `
  create schema app;
  create type public.mood as enum ('sad', 'ok', 'it''s "fine"', '😀');
  create type app."Mood" as enum ('a', 'b c');
  create type public."Mood face" as enum (':-)', ':-\\');
  create type app.pair as (n integer, t text, at timestamptz, b bytea);
  create type public.nested as (p app.pair, list text[]);
  create domain public.posint as integer check (value > 0);
  create domain app.flag as boolean;
  create domain public.blob as bytea;
  create domain public.amount as numeric(12,2);
  create domain app.small_amount as public.amount check (value < 100);
  create domain public.words as text[];
  create domain app.big as bigint;
  create type public.path as enum ('a', 'b c');
  create type public."char" as (n integer, t text);
  create type app."user" as enum ('a', 'b c');
  create type public.floatrange as range (subtype = float8, subtype_diff = float8mi);
  create table public.mood_log (id integer primary key);
  create table app."Mood log" (id integer primary key);
`;

export const createdTypes: Record<string, readonly [type: string, ...values: string[]]> = {
  mood: ['public.mood', 'sad', 'it\'s "fine"', '😀'],
  app_mood: ['app."Mood"', 'a', 'b c'],
  face: ['public."Mood face"', ':-)', ':-\\'],
  pair: ['app.pair', '(,,,)', '(1,"a ""b"", c",2024-02-29 12:00+00,"\\\\xdeadbeef")', '(-1,"",,)'],
  nested: ['public.nested', '("(1,a,,)","{a,NULL,""b c""}")'],
  posint: ['public.posint', '1', '2147483647'],
  flag: ['app.flag', 'true', 'false'],
  blob: ['public.blob', '\\x', '\\xdeadbeef'],
  amount: ['public.amount', '1.5', 'NaN', '-9999999999.99'],
  small_amount: ['app.small_amount', '99.99'],
  words: ['public.words', '{}', '{a,NULL,"b,\\"c"}'],
  big: ['app.big', '-9223372036854775808', '9223372036854775807'],
  like_catalog: ['public.path', 'a', 'b c'],
  like_char: ['public."char"', '(1,x)'],
  key_word: ['app."user"', 'a', 'b c'],
  floatrange: ['public.floatrange', '[0.1,0.30000000000000004)', 'empty', '(,1e-07]'],
};
