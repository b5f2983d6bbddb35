-- Queries that keep every part of a server busy: plans, sorts, joins, numbers, text, documents, functions that fail.
\set key random(1, 200000)
SELECT count(*), sum(length(filler)), avg(abalance) FROM pgbench_accounts
  WHERE aid BETWEEN :key AND :key + 5000 GROUP BY abalance % 7 ORDER BY 2;
SELECT a.bid, count(*) FROM pgbench_accounts a JOIN pgbench_accounts b ON a.aid = b.aid + 1
  WHERE a.aid < 3000 GROUP BY a.bid;
WITH RECURSIVE steps(n, value) AS (
    SELECT 1, 1.5::numeric
    UNION ALL SELECT n + 1, value * 1.0001 + sqrt(n::numeric) FROM steps WHERE n < 300
  ) SELECT max(value), string_agg(n::text, ',') FROM steps;
SELECT count(*) FROM (
    SELECT regexp_replace(md5(n::text), '([0-9]+)([a-f])', '\2-\1', 'g') AS text FROM generate_series(1, 500) n
  ) texts WHERE text ~ '^[a-f]-\d+';
SELECT jsonb_object_agg(n::text, jsonb_build_object('a', n, 'b', array[n, n + 1])) -> '7'
  FROM generate_series(1, 200) n;
SELECT n, rank() OVER (PARTITION BY n % 10 ORDER BY (n * 7919) % 1009)
  FROM generate_series(1, 1000) n ORDER BY 2 DESC, 1 LIMIT 5;
DO $$
BEGIN
  FOR turn IN 1 .. 20 LOOP
    BEGIN
      PERFORM turn / (turn % 3);
    EXCEPTION WHEN division_by_zero THEN
      PERFORM length(repeat('x', turn));
    END;
  END LOOP;
END
$$;
