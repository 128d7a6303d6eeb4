-- How somebody was the addressee: by which family name, and whether the birth date agreed.
--
-- Gives          qerds.identification.match_kind, stated with the rest of the row; qerds.also_state()
-- Locks          qerds.identification, for an instant: the column has no value for what is there
-- Old processes  may run: a gateway from before leaves the kind out

ALTER TABLE qerds.identification
    ADD COLUMN match_kind text CHECK (match_kind IN ('birth_name', 'birth_name_and_part_of_birth_date',
                                                     'birth_name_and_birth_date', 'usage_name_and_birth_date')),
    ADD CONSTRAINT identification_kind_is_of_a_match CHECK (match_kind IS NULL OR outcome = 'match');

-- For migrations: a column that a stated row gets later. Its name and value follow the others in the digest of those rows that
-- have it; the leaves of all others stay true. is_there: of the row x.
CREATE FUNCTION qerds.also_state(fact text, addition text, is_there text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    form  text;
    place record;
BEGIN
    SELECT substring(p.prosrc FROM 'record_send\(ROW\([^)]*\)\)') INTO STRICT form
    FROM pg_proc p WHERE p.oid = format('qerds.state_%s()', fact)::regprocedure;
    FOR place IN SELECT pg_get_functiondef(p.oid) AS definition
                 FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'qerds'
                 WHERE p.proname IN ('stated_facts', 'state_' || fact, 'state_change_of_' || fact, 'state_end_of_' || fact)
    LOOP
        IF array_length(string_to_array(place.definition, form), 1) <> 2 THEN
            RAISE EXCEPTION 'not the one digest of %: %', fact, place.definition;
        END IF;
        EXECUTE replace(place.definition, form, form || format(
            ' || CASE WHEN %s THEN record_send(ROW(%L::text, x.%I)) ELSE ''''::bytea END', is_there, addition, addition));
    END LOOP;
END $$;
COMMENT ON FUNCTION qerds.also_state(text, text, text) IS 'For migrations: states a further column of a fact, for the rows that have it.';
REVOKE ALL ON FUNCTION qerds.also_state(text, text, text) FROM PUBLIC;

SELECT qerds.also_state('identification', 'match_kind', 'x.match_kind IS NOT NULL');
