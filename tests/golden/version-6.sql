-- The table of version-3.sql as schema version 6 keeps it.
BEGIN TRANSACTION;
CREATE TABLE accounts (
	api VARCHAR NOT NULL, 
	key_hash VARCHAR NOT NULL, 
	account VARCHAR NOT NULL, 
	tier VARCHAR, 
	credits BIGINT, 
	seen_at DATETIME NOT NULL, 
	period_end DATETIME, 
	PRIMARY KEY (api, key_hash)
);
CREATE TABLE apis (
	api VARCHAR NOT NULL, 
	next_start DATETIME NOT NULL, 
	taken_at DATETIME, 
	PRIMARY KEY (api)
);
CREATE TABLE attempts (
	token VARCHAR NOT NULL, 
	batch VARCHAR NOT NULL, 
	row_key VARCHAR NOT NULL, 
	run_id VARCHAR NOT NULL, 
	started_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	outcome VARCHAR, 
	http_status INTEGER, 
	message TEXT, 
	raw_body TEXT, 
	video_id VARCHAR, 
	credits_reserved INTEGER NOT NULL, 
	credits_charged INTEGER, 
	credits_final INTEGER, generation INTEGER NOT NULL DEFAULT 1, same_as VARCHAR, refund_due_at DATETIME, refund_until DATETIME, unrated BOOLEAN NOT NULL DEFAULT false, odd_figure TEXT, settled_at DATETIME, 
	PRIMARY KEY (token)
);
INSERT INTO "attempts" VALUES('rb_ae3197e275ea96bfd2f6','spring','done-url','c356c4205ac9','2026-11-26 08:54:05.374078','2026-11-26 08:54:05.437119','submitted',200,NULL,NULL,'c257afd8bbe1296493d02b69b',48,48,48,1,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO "attempts" VALUES('rb_ae3197a6b84dffcd094c','spring','failed','c356c4205ac9','2026-11-26 08:54:05.437277','2026-11-26 08:54:05.449472','submitted',200,NULL,NULL,'c016dc38269ba34f6c8e8b42b',48,48,48,1,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO "attempts" VALUES('rb_ae3197036a349d0fad33','spring','refused','c356c4205ac9','2026-11-26 08:54:05.449630','2026-11-26 08:54:05.460819','rejected',422,'style.prompt: this prompt can''t be used',NULL,NULL,48,NULL,NULL,1,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO "attempts" VALUES('rb_ae319795c2a2fcd30eb3','spring','doubtful','c356c4205ac9','2026-11-26 08:54:05.460921','2026-11-26 08:54:05.476540','in_doubt',NULL,'no answer came after the request was sent (RemoteProtocolError: the server closed the connection without an answer); it may have been charged',NULL,NULL,48,NULL,NULL,1,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO "attempts" VALUES('rb_ae3197494c990e6d6727','spring','done-local','c356c4205ac9','2026-11-26 08:54:05.476663','2026-11-26 08:54:05.491635','submitted',200,NULL,NULL,'c08d11f7e9db299bef718ff2f',48,48,48,1,NULL,NULL,NULL,0,NULL,NULL);
CREATE TABLE batches (
	batch VARCHAR NOT NULL, 
	api VARCHAR NOT NULL, 
	base TEXT NOT NULL, 
	worst_case BIGINT DEFAULT 0 NOT NULL, 
	created_at DATETIME NOT NULL, 
	estimated BIGINT DEFAULT 0 NOT NULL, 
	charged BIGINT DEFAULT 0 NOT NULL, 
	final BIGINT DEFAULT 0 NOT NULL, 
	refunded BIGINT DEFAULT 0 NOT NULL, 
	reserved BIGINT DEFAULT 0 NOT NULL, 
	in_doubt BIGINT DEFAULT 0 NOT NULL, account VARCHAR, probe VARCHAR, key_hash VARCHAR, unknown BIGINT NOT NULL DEFAULT 0, archived_at DATETIME, 
	PRIMARY KEY (batch)
);
INSERT INTO "batches" VALUES('spring','local','/catalogue',192,'2026-11-26 08:54:05.333348',144,144,144,0,0,48,NULL,NULL,NULL,0,NULL);
CREATE TABLE budgets (
	api VARCHAR NOT NULL, 
	account VARCHAR NOT NULL, 
	starts_at DATETIME NOT NULL, 
	ends_at DATETIME NOT NULL, 
	worst_case BIGINT NOT NULL, 
	reserved BIGINT NOT NULL, 
	unknown BIGINT NOT NULL, 
	PRIMARY KEY (api, account, starts_at, ends_at)
);
CREATE TABLE decisions (
	decision INTEGER NOT NULL, 
	decided_at DATETIME NOT NULL, 
	decided_by VARCHAR NOT NULL, 
	batch VARCHAR NOT NULL, 
	row_key VARCHAR NOT NULL, 
	token VARCHAR NOT NULL, 
	verdict VARCHAR NOT NULL, 
	video_id VARCHAR, command VARCHAR, before TEXT, undoes INTEGER, 
	PRIMARY KEY (decision)
);
CREATE TABLE generations (
	batch VARCHAR NOT NULL, 
	row_key VARCHAR NOT NULL, 
	row_number INTEGER NOT NULL, 
	image_path TEXT NOT NULL, 
	prompt TEXT, 
	model VARCHAR, 
	resolution VARCHAR, 
	end_seconds FLOAT, 
	audio BOOLEAN, 
	name TEXT, 
	state VARCHAR NOT NULL, 
	video_id VARCHAR, 
	estimated_frame_cost INTEGER, 
	credits_estimated INTEGER, 
	credits_charged INTEGER, 
	credits_final INTEGER, 
	fps FLOAT, 
	width INTEGER, 
	height INTEGER, 
	error_code VARCHAR, 
	error_message TEXT, 
	attempts INTEGER DEFAULT 0 NOT NULL, 
	token VARCHAR, 
	run_id VARCHAR, 
	submitted_at DATETIME, 
	settled_at DATETIME, 
	video_path TEXT, 
	generation INTEGER DEFAULT 1 NOT NULL, 
	verdict VARCHAR, 
	verdict_note TEXT, 
	reviewed_at DATETIME, 
	video_bytes BIGINT, 
	video_seconds FLOAT, 
	video_frames INTEGER, 
	video_check VARCHAR, 
	end_image_path TEXT, 
	request_width INTEGER, 
	request_height INTEGER, 
	fingerprint VARCHAR NOT NULL, 
	in_manifest BOOLEAN NOT NULL, 
	rerun_wanted BOOLEAN DEFAULT false NOT NULL, 
	due_at DATETIME, 
	order_id INTEGER, 
	image_base TEXT, 
	image_stat TEXT, 
	image_bytes BIGINT, 
	image_sha256 TEXT, 
	request_sha256 VARCHAR, 
	paid_as TEXT, 
	waited_until DATETIME, 
	PRIMARY KEY (batch, row_key, generation), 
	CONSTRAINT state_is_known CHECK (state = 'invalid' OR state = 'pending' OR state = 'claimed' OR state = 'sending' OR state = 'queued' OR state = 'rendering' OR state = 'complete' OR state = 'error' OR state = 'canceled' OR state = 'rejected' OR state = 'in_doubt'), 
	CONSTRAINT id_is_known CHECK (video_id IS NOT NULL OR (state <> 'queued' AND state <> 'rendering' AND state <> 'complete'))
);
INSERT INTO "generations" VALUES('spring','done-local',1,'images/teapot.jpg','Pan over the teapot','ltx-2.3','480p',2.0,NULL,NULL,'complete','c08d11f7e9db299bef718ff2f',48,48,48,48,30.0,320,180,NULL,NULL,1,'rb_ae3197494c990e6d6727','c356c4205ac9','2026-11-26 08:54:05.491635','2026-11-26 08:54:05.891384',NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'751757349e31a2f9689ede77cc50dbee46276debff72dd039eaae4b807fcf406',1,0,NULL,NULL,'/catalogue',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "generations" VALUES('spring','done-url',2,'https://images.example.com/1.png','Pan 1','ltx-2.3','480p',2.0,NULL,NULL,'complete','c257afd8bbe1296493d02b69b',48,48,48,48,30.0,320,180,NULL,NULL,1,'rb_ae3197e275ea96bfd2f6','c356c4205ac9','2026-11-26 08:54:05.437119','2026-11-26 08:54:05.885872',NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'a34044e7c4b1c0fd9841a1bfae437466bca7fa88a5c75bc9c4439ae8290b8720',1,0,NULL,NULL,'/catalogue',NULL,NULL,NULL,'51d24fc1875515d2e1508a606a00cd6f424044913cbff0b2977161fa561faf13',NULL,NULL);
INSERT INTO "generations" VALUES('spring','failed',3,'https://images.example.com/2.png','Pan 2 fails','ltx-2.3','480p',2.0,NULL,NULL,'complete','c016dc38269ba34f6c8e8b42b',48,48,48,48,30.0,320,180,NULL,NULL,1,'rb_ae3197a6b84dffcd094c','c356c4205ac9','2026-11-26 08:54:05.449472','2026-11-26 08:54:05.897827',NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'492a821bb4d6fa739b8673290c44b52e3e85e3e791cf3483371bc5e54b2b4fb6',1,0,NULL,NULL,'/catalogue',NULL,NULL,NULL,'4ea88bbc1eea093d0a7ad0b7c0191a6f366c953e8c8d30c29df99ab35e5e93a3',NULL,NULL);
INSERT INTO "generations" VALUES('spring','refused',4,'https://images.example.com/3.png','Pan 3 refused','ltx-2.3','480p',2.0,NULL,NULL,'rejected',NULL,NULL,48,NULL,NULL,NULL,NULL,NULL,'http_422','style.prompt: this prompt can''t be used',1,'rb_ae3197036a349d0fad33','c356c4205ac9',NULL,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2c4d55270ae93a9cefee2599757553238f8e49af19e29d70fc04e8c8c77325ff',1,0,NULL,NULL,'/catalogue',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "generations" VALUES('spring','doubtful',5,'https://images.example.com/4.png','Pan 4 lost','ltx-2.3','480p',2.0,NULL,NULL,'in_doubt',NULL,NULL,48,NULL,NULL,NULL,NULL,NULL,'connection_lost','no answer came after the request was sent (RemoteProtocolError: the server closed the connection without an answer); it may have been charged',1,'rb_ae319795c2a2fcd30eb3','c356c4205ac9',NULL,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'c6a92f815f44de51afe19176ce411117b342aa5d5abfcb8d2150873ee2f6b0ad',1,0,NULL,NULL,'/catalogue',NULL,NULL,NULL,'4b7987d711aba91f012ded8aebc60d5b7604c4274c9aa7d5841896177184aee6',NULL,NULL);
INSERT INTO "generations" VALUES('spring','waiting',6,'https://images.example.com/5.png','Pan 5','ltx-2.3','480p',2.0,NULL,NULL,'pending',NULL,NULL,48,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'d3435d50e52b3832d0092d81c3523a733bb6969ab545ea64402c90cbbfa13daf',1,0,NULL,NULL,'/catalogue',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "generations" VALUES('spring','rendering',7,'https://images.example.com/6.png','Pan 6','ltx-2.3','480p',2.0,NULL,NULL,'pending',NULL,NULL,48,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'dc6671c9f3886dddc10d46234ce9385d35982d875439d4bdec0d50f1467dba89',1,0,NULL,NULL,'/catalogue',NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE loads (
	batch VARCHAR NOT NULL, 
	digest VARCHAR NOT NULL, 
	run_id VARCHAR NOT NULL, 
	started_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	"plan" TEXT, 
	PRIMARY KEY (batch)
);
INSERT INTO "loads" VALUES('spring','7088565c3940abf40d8baceb31f5ab9be911ca8043c0cb4bd3210bf49821d259','c356c4205ac9','2026-11-26 08:54:05.233676','2026-11-26 08:54:05.350923','{"manifest": "spring.csv", "batch": "spring", "rows": 7, "send": 7, "skip": 0, "changed": 0, "failed": 0, "in_doubt": 0, "held": 0, "invalid": 0, "gone": 0, "credits_estimated": 336, "unknown_rate": 0, "dollars": null, "max_credits": null, "by_model": [{"model": "ltx-2.3", "rows": 7, "credits": 336, "unknown": 0}], "problems": [], "warnings": [], "problem_count": 0, "warning_count": 0, "joined": false}');
CREATE TABLE orders (
	order_id INTEGER NOT NULL, 
	batch VARCHAR NOT NULL, 
	selection TEXT NOT NULL, 
	placed_at DATETIME NOT NULL, 
	placed_by VARCHAR NOT NULL, 
	run_id VARCHAR NOT NULL, 
	rows INTEGER NOT NULL, 
	dropped INTEGER DEFAULT 0 NOT NULL, 
	closed_at DATETIME, 
	PRIMARY KEY (order_id)
);
CREATE TABLE prices (
	api VARCHAR NOT NULL, 
	account VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	resolution VARCHAR NOT NULL, 
	audio BOOLEAN NOT NULL, 
	seconds FLOAT NOT NULL, 
	charged INTEGER, 
	settled INTEGER, 
	seen_at DATETIME NOT NULL, 
	PRIMARY KEY (api, account, model, resolution, audio, seconds)
);
CREATE TABLE reelbatch_schema (
	version INTEGER NOT NULL, identity VARCHAR, 
	PRIMARY KEY (version)
);
INSERT INTO "reelbatch_schema" VALUES(6,'16baf51f01177c0eaf1d6f47cea70b58');
CREATE TABLE runs (
	run_id VARCHAR NOT NULL, 
	batch VARCHAR NOT NULL, 
	command VARCHAR NOT NULL, 
	host VARCHAR NOT NULL, 
	pid INTEGER NOT NULL, 
	pid_started FLOAT NOT NULL, 
	user_name VARCHAR NOT NULL, 
	started_at DATETIME NOT NULL, 
	heartbeat_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	max_credits BIGINT, 
	reserved BIGINT DEFAULT 0 NOT NULL, 
	spent BIGINT DEFAULT 0 NOT NULL, 
	exit_reason VARCHAR, secret VARCHAR, account VARCHAR, balance BIGINT, balance_at DATETIME, period_end DATETIME, 
	PRIMARY KEY (run_id)
);
INSERT INTO "runs" VALUES('c356c4205ac9','spring','generate','laptop',27854,5989.17,'anna','2026-11-26 08:54:05.002351','2026-11-26 08:54:05.917613','2026-11-26 08:54:05.917613',NULL,48,144,'done',NULL,NULL,NULL,NULL,NULL);
CREATE TABLE throttles (
	payer VARCHAR NOT NULL, 
	run_id VARCHAR NOT NULL, 
	at DATETIME NOT NULL, 
	wait_s FLOAT NOT NULL, 
	PRIMARY KEY (payer)
);
CREATE TABLE uploads (
	api VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	file_path VARCHAR NOT NULL, 
	bytes BIGINT NOT NULL, 
	uploaded_at DATETIME NOT NULL, 
	run_id VARCHAR NOT NULL, 
	PRIMARY KEY (api, sha256)
);
INSERT INTO "uploads" VALUES('http://127.0.0.1:41135','6c613d07f6c29c5805f3cb277ec7273d6e2a6f1364f8368af25161022ce90119','api-assets/sandbox/16311568e4ed0d9fea31a5a2290ee5a7.jpg',31889,'2026-11-26 08:54:05.448266','c356c4205ac9');
CREATE TABLE verdicts (
	verdict_id INTEGER NOT NULL, 
	batch VARCHAR NOT NULL, 
	row_key VARCHAR NOT NULL, 
	generation INTEGER NOT NULL, 
	verdict VARCHAR, 
	note TEXT, 
	said_at DATETIME NOT NULL, 
	said_by VARCHAR NOT NULL, 
	undoes INTEGER, 
	PRIMARY KEY (verdict_id), 
	UNIQUE (undoes)
);
CREATE TABLE writers (
	writer VARCHAR NOT NULL, 
	writes BIGINT NOT NULL, 
	started_at DATETIME NOT NULL, 
	PRIMARY KEY (writer)
);
CREATE INDEX attempts_row ON attempts (batch, row_key);
CREATE INDEX runs_open ON runs (heartbeat_at) WHERE ended_at IS NULL;
CREATE INDEX results_held ON generations (run_id) WHERE state IN ('claimed', 'sending');
CREATE INDEX results_order ON generations (order_id, state) WHERE order_id IS NOT NULL;
CREATE INDEX results_token ON generations (token) WHERE token IS NOT NULL;
CREATE INDEX results_further ON generations (batch, generation) WHERE generation > 1;
CREATE INDEX results_gone ON generations (batch, state) WHERE in_manifest = 0;
CREATE INDEX results_due ON generations (batch, due_at) WHERE state IN ('queued', 'rendering');
CREATE INDEX results_state ON generations (batch, state, row_number);
CREATE INDEX results_request ON generations (request_sha256) WHERE request_sha256 IS NOT NULL;
CREATE UNIQUE INDEX orders_open ON orders (batch) WHERE closed_at IS NULL;
CREATE INDEX attempts_video ON attempts (video_id) WHERE video_id IS NOT NULL;
CREATE INDEX attempts_same ON attempts (batch) WHERE same_as IS NOT NULL;
CREATE INDEX attempts_refund ON attempts (batch, refund_due_at) WHERE refund_due_at IS NOT NULL;
CREATE INDEX attempts_unrated ON attempts (batch) WHERE unrated;
CREATE INDEX attempts_odd ON attempts (batch) WHERE odd_figure IS NOT NULL;
CREATE INDEX verdicts_video ON verdicts (batch, row_key, generation);
CREATE VIEW results AS SELECT batch, row_key, row_number, image_path, prompt, model, resolution, end_seconds, audio, name, state, video_id, estimated_frame_cost, credits_estimated, credits_charged, credits_final, fps, width, height, error_code, error_message, attempts, token, run_id, submitted_at, settled_at, video_path, generation, verdict, verdict_note, reviewed_at, video_bytes, video_seconds, video_frames, video_check, end_image_path, request_width, request_height, fingerprint, in_manifest, rerun_wanted, due_at, order_id, image_base, image_stat, image_bytes, image_sha256, request_sha256, paid_as, waited_until FROM generations WHERE NOT EXISTS (SELECT 1 FROM generations AS other WHERE 
    other.batch = generations.batch AND other.row_key = generations.row_key
    AND other.generation <> generations.generation
    AND CASE
      WHEN coalesce(other.verdict, '') = 'approved' AND coalesce(generations.verdict, '') <> 'approved' THEN 1
      WHEN coalesce(other.verdict, '') <> 'approved' AND coalesce(generations.verdict, '') = 'approved' THEN 0
      WHEN 
    other.batch = generations.batch AND other.row_key = generations.row_key
    AND other.generation <> generations.generation
    AND (
      (other.video_id IS NOT NULL AND generations.video_id IS NULL)
      OR (other.generation > generations.generation
          AND (other.video_id IS NOT NULL OR generations.video_id IS NULL))
    )
 THEN 1
      ELSE 0 END = 1
    );
COMMIT;
