--
-- PostgreSQL database dump
--


-- Dumped from database version 14.23
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: public; Type: SCHEMA; Schema: -; Owner: postgres
--

-- *not* creating schema, since initdb creates it


ALTER SCHEMA public OWNER TO postgres;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: bin; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.bin (
    code text NOT NULL,
    item integer,
    at timestamp with time zone
);


ALTER TABLE public.bin OWNER TO postgres;

--
-- Name: item; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.item (
    id integer NOT NULL,
    name text NOT NULL,
    price numeric(8,2)
);


ALTER TABLE public.item OWNER TO postgres;

--
-- Data for Name: bin; Type: TABLE DATA; Schema: public; Owner: postgres
--

INSERT INTO public.bin VALUES
	('B1', 1, '2026-01-01 00:00:00+00'),
	('B2', 2, '2026-01-01 00:00:00+00'),
	('B3', 3, '2026-01-01 00:00:00+00'),
	('B4', 4, '2026-01-01 00:00:00+00');


--
-- Data for Name: item; Type: TABLE DATA; Schema: public; Owner: postgres
--

INSERT INTO public.item VALUES
	(1, 'item 1', 1.25),
	(2, 'item 2', 2.50),
	(3, 'item 3', 3.75),
	(4, 'item 4', 5.00),
	(5, 'item 5', 6.25),
	(6, 'item 6', 7.50),
	(7, 'item 7', 8.75),
	(8, 'item 8', 10.00),
	(9, 'item 9', 11.25),
	(10, 'item 10', 12.50),
	(11, 'item 11', 13.75),
	(12, 'item 12', 15.00);


--
-- Name: bin bin_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.bin
    ADD CONSTRAINT bin_pkey PRIMARY KEY (code);


--
-- Name: item item_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.item
    ADD CONSTRAINT item_pkey PRIMARY KEY (id);


--
-- Name: SCHEMA public; Type: ACL; Schema: -; Owner: postgres
--

REVOKE USAGE ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO PUBLIC;


--
-- PostgreSQL database dump complete
--


